"""A run that is hurt is one run to its tracker: read back from the tracker's own files, beside the journal.

How workers are made to break is `benchmarks.breaking`. The tracker is hurt too, from outside.
"""

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.breaking import Fault, Place, finish
from launcher.cli.tracking import TRACKER_MODULE
from launcher.core.account import account
from launcher.core.drill import shortened
from launcher.core.ledger import surviving
from launcher.orchestration.drilled_command import Command
from launcher.report.wandb_log import Log, read_log
from launcher.storage.process_id import ProcessId, children, command_line
from launcher.storage.run_dir import RunDir
from launcher.storage.tracking import TrackingFolder
from tests.report.boards import BOARD, require_one_board

TRACKED = ("--set", f"tracking={{wandb: {{project: drill, mode: offline}}, tensorboard: {str(BOARD).lower()}}}")


def kill(step: int, rank: int = 1) -> Fault:
    return {"do": "kill", "place": "forward", "rank": rank, "step": step}


def spike(step: int) -> Fault:
    return {"do": "diverge", "place": "forward", "rank": 0, "step": step, "exactly": True}


def place(folder: Path, steps: int) -> Place:
    short = [word for each in shortened(3, steps, 3) for word in ("--set", each)]
    return Place(folder, "quickstart", ("--cache", str(folder / "cache"), *short, *TRACKED))


def trackers(command: Command) -> list[ProcessId]:
    return [child for child in children(command.living.command.pid) if TRACKER_MODULE in command_line(child)]


def hurt_tracker(command: Command, step: int, number: int) -> None:
    """Send a signal to the tracker once it has written something and the run is so far."""
    command.until(lambda: command.latest("step", "step") >= step, f"step {step}")
    folder = TrackingFolder(command.run)
    command.until(lambda: any(tracker in folder.remembered() for tracker in trackers(command))
                  and read_log(folder.logs()[-1]).begun, "a tracker that has begun to write")
    assert trackers(command)[0].signal(number)


def told(run: RunDir) -> Iterator[Log]:
    return map(read_log, TrackingFolder(run).logs())


def require_one_run(run: RunDir, events: list[dict[str, Any]], lives: int) -> None:
    """Compare what the tracker's logs tell with the journal: each step once, in order, with what counts of it."""
    logs = list(told(run))
    assert len(logs) == lives and {log.run_id for log in logs} == {TrackingFolder(run).identity()}
    rows = [row for log in logs for row in log.history]
    assert [row["_step"] for row in rows] == list(range(len(rows)))
    axis = [row["step"] for row in rows]
    assert axis == sorted(axis)
    counted = surviving(events)
    assert [(row["step"], row.get("loss"), row["applied"]) for row in rows if "applied" in row] == [
        (event["step"], event["loss"], int(event["applied"])) if event["loss"] is not None
        else (event["step"], None, int(event["applied"])) for event in counted]
    measured = {event["step"]: event for event in events if event["event"] == "evaluation"}
    found = [(row["measured_step"], row["holdout/sums"]) for row in rows if "measured_step" in row]
    assert found == [(step, event["sources"]["sums"]["loss"]) for step, event in sorted(measured.items())]
    last = logs[-1]
    assert last.exit_code == 0 and last.summary["live/state"] == "finished"
    assert last.config["plan"]["steps"] == counted[-1]["step"] == last.summary["checkpoint/step"]


def require_account(events: list[dict[str, Any]], began: float, ended: float) -> None:
    """Compare the account with the clock outside: the journal begins and ends within the command's own start and end.
    """
    found = account(events)
    assert sum(found.parts.values()) == pytest.approx(found.wall, rel=1e-6)
    assert found.wall == pytest.approx(events[-1]["time"] - events[0]["time"], rel=0.01)
    assert 0.0 <= ended - began - found.wall < 30.0, "the command's own start, and its last words"
    assert found.parts["other"] < 0.03 * found.wall, found.parts
    done = [event for event in events if event["event"] == "step" and not event["skipped"]]
    assert found.parts["useful"] + found.parts["redone"] == pytest.approx(
        sum(event["seconds"] for event in done), rel=0.02)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_run_with_a_kill_and_a_rollback_is_one_run_to_its_tracker(tmp_path: Path) -> None:
    drill = place(tmp_path, 4).broken("run", [kill(5), spike(8)])
    began = time.time()
    with drill.begun("run") as command:
        finish(command)
        events = command.events()
    assert {event["kind"] for event in events if event["event"] == "failure"} >= {"worker_crash", "divergence"}
    require_one_run(command.run, events, 1)
    require_one_board(TrackingFolder(command.run), events, 1)
    require_account(events, began, time.time())
    assert "Traceback" not in TrackingFolder(command.run).log.read_text()


@pytest.mark.campaign
@pytest.mark.timeout(900)
def test_five_kills_two_rollbacks_a_stop_and_two_dead_trackers_are_one_run(tmp_path: Path) -> None:
    faults = [kill(5), kill(9, 0), spike(14), kill(20), kill(27, 0), spike(34), kill(40)]
    drill = place(tmp_path, 16).broken("run", faults)
    began = time.time()
    with drill.begun("run") as command:
        hurt_tracker(command, 7, signal.SIGKILL)
        command.until(lambda: command.latest("step", "step") >= 22, "step 22")
        command.living.command.signal(signal.SIGTERM)
        finish(command, (75,))
    with drill.begun("run") as command:
        hurt_tracker(command, 29, signal.SIGKILL)
        finish(command)
        events = command.events()
    kinds = [event["kind"] for event in events if event["event"] == "failure"]
    assert kinds.count("divergence") >= 2
    assert len({event["attempt"] for event in events if event["event"] == "failure"}) == 7
    require_one_run(command.run, events, 4)
    require_one_board(TrackingFolder(command.run), events, 4)
    require_account(events, began, time.time())
    assert [log.exit_code for log in told(command.run)] == [None, 75, None, 0]


@pytest.mark.campaign
@pytest.mark.timeout(300)
def test_a_tracker_that_is_stopped_by_a_signal_delays_the_end_by_seconds_and_is_told(tmp_path: Path) -> None:
    drill = place(tmp_path, 4).drill()
    with drill.begun("run") as command:
        hurt_tracker(command, 2, signal.SIGSTOP)
        frozen = trackers(command)[0]
        command.until(lambda: command.events()[-1]["event"] == "run_ended", "the run's end", may_end=True)
        ended = time.monotonic()
        finish(command)
        assert time.monotonic() - ended < 12.0 and not frozen.alive()
        assert "the tracker did not end within 5 s and was ended" in command.said()
