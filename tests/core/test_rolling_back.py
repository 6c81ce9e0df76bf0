"""What is left out after a divergence, from where the run goes on then, and when it ends instead."""

from typing import Any

import pytest

from launcher.core.amending import amended
from launcher.core.amendment import SkipRows
from launcher.core.rolling_back import after_divergence, rollbacks_since_good, skip_of
from launcher.core.run_plan import RunPlan
from tests.core.planned import planned

PLAN = planned({"a": 4000}, [{"length": {"steps": 100}, "mix": {"a": 1}}, {"length": {"steps": 200}, "mix": {"a": 1}}])


def without(*steps: int) -> RunPlan:
    return amended(PLAN, [SkipRows(from_step=min(steps), reason="", steps=steps)])


def left_out(plan: RunPlan, failed: list[int], committed: tuple[int, ...] = (40, 80), rollbacks: int = 2) -> Any:
    found = after_divergence(plan, failed, committed, rollbacks, "why")
    return found and found.steps


def test_a_spike_leaves_out_its_step() -> None:
    found = after_divergence(PLAN, [91], (40, 80), 2, "the norm is 900")
    assert found == SkipRows(from_step=91, steps=(91,), reason="the norm is 900")


def test_a_spike_right_behind_one_leaves_out_what_led_to_both() -> None:
    assert left_out(without(91), [91, 92]) == (90, 92)
    assert left_out(without(90, 91, 92), [91, 92, 93], rollbacks=9) == (89, 93)


def test_what_led_to_it_stays_where_no_checkpoint_would_be_left() -> None:
    assert left_out(without(81), [81, 82], committed=(80,)) == (82,), "that of step 80 would be of another past"
    assert left_out(without(81), [81, 82], committed=(40, 80)) == (80, 82)
    assert left_out(without(3), [3, 4], committed=()) == (2, 4), "nothing was saved: the run begins from the base"
    assert left_out(without(101), [101, 102]) == (102,), "the stage before is another matter"


def test_going_back_is_bounded() -> None:
    assert left_out(without(85, 88), [85, 88, 91]) is None
    assert left_out(PLAN, [91], rollbacks=0) is None


@pytest.mark.parametrize(("failed", "count"), [
    ([91], 1), ([85, 88, 91], 3), ([20, 85, 88], 2), ([88, 85], 2), ([98, 101], 1), ([85, 88, 101, 103], 2),
    ([110, 160, 210], 1), ([110, 159, 208], 3),
], ids=["one", "three", "long ago", "earlier", "new stage", "both", "fifty apart", "not quite"])
def test_a_new_stage_or_fifty_good_steps_forgive(failed: list[int], count: int) -> None:
    assert rollbacks_since_good(PLAN, failed) == count


def test_a_step_that_was_not_finite_is_left_out_without_going_back() -> None:
    event = {"step": 7, "applied": False, "skipped": False}
    assert skip_of(PLAN, {**event, "applied": True}) is None
    assert skip_of(PLAN, {**event, "skipped": True}) is None
    found = skip_of(PLAN, event)
    assert found is not None and found.steps == (7,)
    assert skip_of(without(7), event) is None, "it is recorded already"


def test_too_many_steps_that_were_not_finite_end_the_run() -> None:
    assert left_out(without(7, 8, 9), [9]) is None
