"""Real trackers, one after the other, over the journal of a run that is hurt: their logs are one run."""

import time
from pathlib import Path
from typing import Any

import pytest

from launcher.cli.tracking import Keeper, tracked
from launcher.core.ledger import surviving
from launcher.core.recipe_tracking import Tracking
from launcher.report.wandb_log import read_log
from launcher.storage.process_id import process_id
from launcher.storage.run_dir import RunDir
from launcher.storage.run_start import begin_run
from launcher.storage.tracking import TrackingFolder
from tests.orchestration.scenes import plan_of
from tests.report.boards import BOARD, require_one_board
from tests.report.journals import again, committed, decision, ended, evaluation, failure, over, started, step
from tests.report.test_tracker import write
from tests.storage.test_run_start import SUBMISSION

TRACKING = Tracking.model_validate({"wandb": {"project": "drill", "mode": "offline"}, "tensorboard": BOARD})


def attempt(number: int, resume: int, last: int, *, kind: str = "worker_crash") -> list[dict]:
    """Return the events of an attempt that does steps up to one, saves every third, and fails there."""
    now = 100.0 * number
    events = [again(number, now, resume or None)] if number > 1 else started(1, now, 60)
    if resume == 0:
        events.append(evaluation(0, 5.0, now, number))
    for done in range(resume + 1, last + 1):
        # What is done again comes to the same, but for what follows a step that was left out.
        events.append(step(done, now + done, number, loss=done + 0.5 * (number >= 7 and done >= 35)))
        if done % 20 == 0:
            events.append(evaluation(done, 4.0 - done / 60, now + done, number))
        if done % 3 == 0:
            events.append(committed(done, now + done, number))
    hurt = [failure(0, "gone", now + last, kind=kind, attempt=number), decision("restart", now + last, number),
            over("failed", now + last, number)]
    return events + (hurt if last < 60 else [*ended("finished", 0, now + last, number)])


LIFE = [attempt(1, 0, 7), attempt(2, 6, 11), attempt(3, 9, 16, kind="divergence"), attempt(4, 15, 25),
        attempt(5, 24, 31), attempt(6, 30, 38, kind="divergence"), attempt(7, 33, 45), attempt(8, 45, 60)]
"""Five kills and two rollbacks, the second of them to the checkpoint before the newest."""


@pytest.mark.campaign
@pytest.mark.timeout(120)
def test_five_kills_two_rollbacks_and_two_dead_trackers_are_one_run(tmp_path: Path,
                                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunDir(tmp_path / "run")
    recipe = SUBMISSION.recipe.model_copy(update={"tracking": TRACKING})
    begin_run(run, plan_of(("one", 60)), b"", SUBMISSION.model_copy(update={"recipe": recipe}))
    folder, told = TrackingFolder(run), list[str]()
    kept = list[Keeper]()

    def soon(*given: Any) -> Keeper:
        kept.append(Keeper(*given, again_s=1.1))  # Names of lives count seconds.
        return kept[-1]

    monkeypatch.setattr("launcher.cli.tracking.Keeper", soon)
    with tracked(run, recipe, told.append):
        for number, events in enumerate(LIFE, 1):
            write(run, *events)
            if number in (2, 5):
                before = folder.remembered()
                await_rows(folder, events[-4 if number == 2 else -5]["step"] - 8)
                assert kept[0]._child is not None and process_id(kept[0]._child.pid).kill()
                await_next(folder, before or folder.remembered())
    assert len(told) == 1 and told[0].startswith("tracked offline"), folder.log.read_text()
    logs = [read_log(path) for path in folder.logs()]
    assert len(logs) == 3 and {log.run_id for log in logs} == {folder.identity()}
    rows = [row for log in logs for row in log.history]
    assert [row["_step"] for row in rows] == list(range(len(rows)))
    counted = surviving([event for events in LIFE for event in events])
    assert [(row["step"], row["loss"]) for row in rows if "loss" in row] == [
        (event["step"], event["loss"]) for event in counted]
    assert [row["measured_step"] for row in rows if "measured_step" in row] == [0, 20, 40, 60]
    assert [log.exit_code for log in logs] == [None, None, 0]
    assert logs[-1].summary["live/state"] == "finished"
    require_one_board(folder, [event for events in LIFE for event in events], 3)


def await_rows(folder: TrackingFolder, last: int) -> None:
    """Wait until a row of a step is on the disk."""
    deadline = time.monotonic() + 40.0
    while not any(row["step"] >= last for path in folder.logs() for row in read_log(path).history):
        assert time.monotonic() < deadline, folder.log.read_text()
        time.sleep(0.05)


def await_next(folder: TrackingFolder, before: list) -> None:
    deadline = time.monotonic() + 40.0
    while folder.remembered() == before or not all(process.alive() for process in folder.remembered()):
        assert time.monotonic() < deadline, folder.log.read_text()
        time.sleep(0.05)
