"""What is still to come of a run may change; what has begun may not."""

import pytest

from launcher.core.amending import amend, amended
from tests.core.planned import planned

SIZES = {"a": 400, "b": 300, "c": 90}
STAGES = [{"length": {"steps": 3}, "mix": {"a": 1}}, {"length": {"steps": 4}, "mix": {"a": 1, "b": 1}, "replay": 0.1},
          {"length": {"steps": 5}, "mix": {"b": 1}}]
PLAN = planned(SIZES, STAGES)


def with_stages(*stages, **more):
    return planned(SIZES, list(stages), **more)


@pytest.mark.parametrize(("after", "done", "from_step"), [
    (with_stages(*STAGES[:2], {**STAGES[2], "learning_rate": 5e-3}), 7, 8),
    (with_stages(*STAGES[:2], {**STAGES[2], "learning_rate": 5e-3}), 3, 8),
    (with_stages(STAGES[0], {"length": {"steps": 9}, "mix": {"c": 1}}), 3, 4),
    (with_stages(*STAGES, {"length": {"steps": 2}, "mix": {"c": 1}, "replay": 0.5}), 12, 13),
    (with_stages(*STAGES[:2]), 5, 8),
    (with_stages({**STAGES[0], "learning_rate": 1.0}), 0, 1),
], ids=["rate", "earlier", "replaced", "longer", "shorter", "not begun"])
def test_stages_that_have_not_begun_may_change(after, done, from_step):
    made = amend(PLAN, after, done)
    assert made is not None and made.from_step == from_step and made.reason
    assert amended(PLAN, [made]) == after
    for step in range(1, from_step):
        assert after.chain(step) == PLAN.chain(step), "checkpoints from before stay valid"
    assert after.chain() != PLAN.chain()


def test_a_changed_plan_may_change_again():
    first = with_stages(*STAGES[:2], {"length": {"steps": 2}, "mix": {"c": 1}})
    second = with_stages(*STAGES[:2], {"length": {"steps": 2}, "mix": {"c": 1}}, STAGES[2])
    made = [amend(PLAN, first, 7), amend(first, second, 8)]
    assert amended(PLAN, made) == second and [each.from_step for each in made] == [8, 10]


def test_the_same_plan_is_no_change():
    assert amend(PLAN, with_stages(*STAGES), 5) is None


@pytest.mark.parametrize(("after", "told"), [
    (with_stages({**STAGES[0], "learning_rate": 5e-3}, *STAGES[1:]), "stages.0.learning_rate"),
    (with_stages(STAGES[0], {**STAGES[1], "length": {"steps": 6}}, STAGES[2]), "stages.1.steps"),
    (with_stages(*STAGES, seed=1), "seed"),
    (with_stages(*STAGES, batch={"rows": 5}), "rows_per_step"),
    (planned({**SIZES, "a": 401}, STAGES), "sources.a.rows"),
], ids=["trained", "under way", "seed", "batch", "data"])
def test_what_has_begun_may_not_change(after, told):
    with pytest.raises(ValueError, match=told):
        amend(PLAN, after, 4)
