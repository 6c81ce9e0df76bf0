"""What a stage has trained on is counted across checkpoints, and from nothing in each stage."""

from types import SimpleNamespace
from typing import Any

from launcher.core.events import SourceSeen
from launcher.runtime.batches import RowPlace, StepRows
from launcher.runtime.tally import Tally
from tests.core.planned import planned

PLAN = planned({"a": 40, "b": 10}, [{"length": {"steps": 5}, "mix": {"a": 1, "b": 1}}])
STEP = StepRows((RowPlace("a", 0, 0), RowPlace("b", 0, 1)), {"a": 30, "b": 20}, {"a": 90, "b": 60}, {"a": 1, "b": 1})


def saved_by(tally: Tally) -> Any:
    return SimpleNamespace(seen=tally.seen)


def test_a_count_goes_on_from_a_checkpoint():
    first = Tally(PLAN, None)
    first.begin()
    first.add(STEP)
    second = Tally(PLAN, saved_by(first))
    second.add(STEP)
    assert second.seen == {"a": SourceSeen(rows=2, tokens=180, supervised_tokens=60, epochs=0.05),
                           "b": SourceSeen(rows=2, tokens=120, supervised_tokens=40, epochs=0.2)}


def test_the_next_stage_counts_from_nothing():
    tally = Tally(PLAN, None)
    tally.add(STEP)
    tally.begin()
    assert tally.seen == {}


def test_from_a_checkpoint_of_an_earlier_version_nothing_is_told_until_the_next_stage():
    tally = Tally(PLAN, SimpleNamespace(seen=None))  # type: ignore[arg-type]
    tally.add(STEP)
    assert tally.seen is None
    tally.begin()
    tally.add(STEP)
    assert tally.seen is not None and tally.seen["a"].rows == 1
