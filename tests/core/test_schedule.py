"""The learning rate as a closed form."""

import math
from itertools import pairwise

import pytest

from launcher.core.recipe import Optimizer, Schedule
from launcher.core.run_plan import StagePlan
from launcher.core.schedule import learning_rate


def rates(schedule, steps, peak=2.0):
    planned = StagePlan(index=1, name="s", first_step=101, steps=steps, first_row=0, rows=steps, weights={"a": 1},
                        block=64, consumed_before={}, learning_rate=peak, schedule=schedule, optimizer=Optimizer())
    return [learning_rate(planned, step) for step in range(101, 101 + steps)]


def test_warmup_rises_in_equal_parts_to_the_peak_and_learns_at_its_first_step():
    assert rates(Schedule(kind="constant", warmup=0.4), 10) == [0.5, 1.0, 1.5, 2.0, *[2.0] * 6]


@pytest.mark.parametrize("kind", ["cosine", "linear"])
def test_the_last_step_has_the_minimum_and_the_curve_never_rises(kind):
    curve = rates(Schedule(kind=kind, warmup=0.03, minimum=0.1), 100)
    assert max(curve) == curve[2] == 2.0
    assert curve[-1] == pytest.approx(0.2)
    assert all(later < earlier for earlier, later in pairwise(curve[2:]))


def test_cosine_is_half_way_down_at_half_time():
    curve = rates(Schedule(kind="cosine", warmup=0, minimum=0), 100)
    assert curve[49] == pytest.approx(1.0) and curve[24] == pytest.approx(1 + math.cos(math.pi / 4))


@pytest.mark.parametrize("warmup", [0, 0.03, 1])
@pytest.mark.parametrize("kind", ["cosine", "linear", "constant"])
def test_a_stage_of_one_step_learns(kind, warmup):
    (rate,) = rates(Schedule(kind=kind, warmup=warmup, minimum=0.1), 1)
    assert rate > 0


def test_steps_outside_the_stage_are_refused():
    planned = StagePlan(index=0, name="s", first_step=5, steps=2, first_row=0, rows=2, weights={"a": 1}, block=64,
                        consumed_before={}, learning_rate=1, schedule=Schedule(), optimizer=Optimizer())
    for step in (4, 7):
        with pytest.raises(IndexError):
            learning_rate(planned, step)
