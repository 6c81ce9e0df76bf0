"""What nobody journalled is told by the newest checkpoint, once, and nothing that was told is told again."""

from pathlib import Path
from typing import Any

import pytest

from launcher.orchestration.recovering import journal_unsaid
from launcher.storage.checkpoints import Checkpoints
from launcher.storage.journal import Journal, read_journal
from launcher.storage.run_dir import RunDir
from tests.storage.test_checkpoint_damage import commit


def step(number: int) -> dict[str, Any]:
    return {"event": "step", "step": number, "time": float(number)}


def committed(number: int, time: float) -> dict[str, Any]:
    return {"event": "checkpoint_committed", "step": number, "time": time, "seconds": 0.5}


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path)


def recovered(run: RunDir, *told: dict[str, Any], newest: int = 8) -> list[tuple[str, int]]:
    """Return what is journalled besides what was told, after steps 1 to 8 with saves at 4 and 8 within a moment."""
    saves = Checkpoints(run)
    commit(saves, 4, at=4.5, recent=tuple(map(step, range(1, 5))))
    if newest == 8:
        commit(saves, 8, at=8.5, recent=(step(3), step(4), committed(4, 4.6), *map(step, range(5, 9))))
    first = Journal(run, 1)
    for event in told:
        first.append(event)
    first.close()
    second = Journal(run, 2)
    unsaid = journal_unsaid(run, saves, second)
    second.close()
    assert all(event["recovered"] for event in unsaid)
    assert list(read_journal(run))[len(told):] == unsaid
    return [(event["event"], event["step"]) for event in unsaid]


def test_steps_and_the_commit_that_died_with_a_controller_are_told(run: RunDir) -> None:
    assert recovered(run, *map(step, range(1, 5)), committed(4, 4.6), step(5)) == [
        ("step", 6), ("step", 7), ("step", 8), ("checkpoint_committed", 8)]


def test_a_commit_that_was_told_is_not_told_again_because_the_next_one_came_soon(run: RunDir) -> None:
    everything = (*map(step, range(1, 5)), committed(4, 4.6), *map(step, range(5, 9)), committed(8, 8.6))
    assert recovered(run, *everything) == []


def test_a_commit_before_the_newest_one_is_told_where_it_is_missing_too(run: RunDir) -> None:
    assert recovered(run, step(1), step(2))[:4] == [("step", 3), ("step", 4), ("checkpoint_committed", 4), ("step", 5)]


def test_a_step_that_the_run_went_back_over_is_committed_a_second_time(run: RunDir) -> None:
    earlier = (*map(step, range(1, 5)), committed(4, 2.0))
    assert recovered(run, *earlier, newest=4) == [("checkpoint_committed", 4)]


def test_a_run_that_saved_nothing_has_nothing_to_tell(run: RunDir) -> None:
    journal = Journal(run, 1)
    assert journal_unsaid(run, Checkpoints(run), journal) == []
    journal.close()
