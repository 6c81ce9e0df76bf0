"""When to save, and what to keep."""

import pytest

from launcher.core.intervals import Interval
from launcher.core.planning import plan
from launcher.core.saving import expendable, kind_due
from tests.core.planned import TEMPLATE, prepared, recipe

PLAN = plan(recipe({"a": {}}, [{"name": "one", "length": {"steps": 4}, "mix": {"a": 1}, "learning_rate": 0.1},
                               {"name": "two", "length": {"steps": 3}, "mix": {"a": 1}, "learning_rate": 0.1}]),
            prepared({"a": 500}), TEMPLATE)


@pytest.mark.parametrize(("step", "every", "clock", "stopping", "kind"), [
    (1, Interval(steps=2), False, False, None),
    (2, Interval(steps=2), False, False, "periodic"),
    (3, Interval(seconds=60.0), True, False, "periodic"),
    (3, Interval(seconds=60.0), False, True, "drain"),
    (4, Interval(seconds=60.0), False, False, "stage"),
    (4, Interval(steps=2), False, True, "stage"),
    (7, Interval(seconds=60.0), False, False, "final"),
])  # fmt: skip
def test_a_checkpoint_is_due_at_intervals_at_stage_ends_and_when_stopping(step, every, clock, stopping, kind):
    assert kind_due(PLAN, step, every, clock_due=clock, stopping=stopping) == kind


def test_the_newest_are_kept_and_those_that_last_are_never_deleted():
    committed = {1: "periodic", 2: "stage", 3: "drain", 4: "periodic", 5: "periodic", 6: "permanent"}
    assert expendable(committed, 2) == [3, 1]
    assert expendable(committed, 1) == [4, 3, 1]


def test_the_newest_of_all_is_kept_whatever_it_is():
    assert expendable({1: "periodic"}, 1) == [] and expendable({1: "stage", 2: "periodic"}, 1) == []
