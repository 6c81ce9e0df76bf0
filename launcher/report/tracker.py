"""The tracker's process: `python -m launcher.report.tracker RUN`. Follows the journal and tells Weights & Biases and
TensorBoard, and writes gauges for Prometheus.

Started by the command that works on the run (`cli.tracking`), which holds its standard input: once that closes the
tracker tells what is left in the journal and goes. It asks nothing of training and training asks nothing of it; killed
at any moment, the next one goes on from what its logs say was told. What is told when is `core.settled`, in which form
`report.tracked`; `report.wandb_run` and `report.tensorboard_run` know the libraries.
"""

import logging
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

from launcher.core.account import Account, account
from launcher.core.errors import FINISHED, INFRASTRUCTURE
from launcher.core.recipe import Recipe
from launcher.core.recipe_tracking import Tracking, WandbOptions
from launcher.core.settled import Point, Sent, Settling
from launcher.report.fold import RunFold
from launcher.report.gauges import gauges
from launcher.report.tracked import (
    Table,
    account_summary,
    config_of,
    forgetting_table,
    live_summary,
    row_of,
    samples_table,
)
from launcher.report.wandb_run import WandbRun
from launcher.storage.files import write_atomic
from launcher.storage.growing import Mirror
from launcher.storage.journal import JournalReader, read_journal
from launcher.storage.process_id import descendants, leave, process_id
from launcher.storage.run_dir import RunDir
from launcher.storage.run_start import read_plan, read_submission
from launcher.storage.tracking import TrackingFolder

log = logging.getLogger(__name__)

LOOK_S = 1.0
"""Between looks at the journal."""
LIVE_S = 10.0
"""Between words about where the run stands."""
ACCOUNT_S = 60.0
"""Between looks at the whole journal, at least; of a long one they cost more, and come less often."""
LAST_S = 3.0
"""For a journal without an end, after the command is gone: its controller may still write one."""
GO_S = 60.0
"""After which a tracker that nobody holds is gone, whatever it hangs in."""
VERSIONS = ("launcher", "torch", "deepspeed", "transformers", "ray", "wandb", "tensorboard")
IGNORED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""Batch systems send them to every process; the command decides when this one goes."""


class Told(Protocol):
    """Somebody who is told of a run. Whoever is told a point once must not be told it again."""

    sent: Sent
    """What earlier lives have told."""

    def row(self, values: Mapping[str, Any], tables: Mapping[str, Table], moment: float, /) -> None:
        """Tell a step, and when it was done."""
        ...

    def summary(self, values: Mapping[str, Any], /) -> None:
        """Tell where the run stands."""
        ...

    def finish(self, exit_code: int, *, goes_on: bool) -> None:
        """End this life. `goes_on`: the run was interrupted and will be continued."""
        ...


class Tracker:
    """Tells one life's part of a run."""

    def __init__(self, run: RunDir, recipe: Recipe, told: Sequence[Told], gauge_file: Path | None = None) -> None:
        self._run, self._gauge_file = run, gauge_file
        held = 0 if recipe.divergence.width == "off" else recipe.divergence.rollbacks
        # Each has its own memory: one of them may have been added when the run had begun.
        self._told = [(each, Settling(held, each.sent)) for each in told]
        self._reader, self._fold = JournalReader(run), RunFold()
        self._spent, self._plan = Account(), read_plan(run)
        self._spent_at, self._live_at = 0.0, 0.0

    def look(self) -> None:
        """Tell what is new in the journal."""
        points = [list[Point]() for _ in self._told]
        for event in self._reader.new_events():
            self._fold.add(event)
            for (_, settling), settled in zip(self._told, points, strict=True):
                settled += settling.add(event)
        for (told, _), settled in zip(self._told, points, strict=True):
            for point in settled:
                row = row_of(point) | (self._standing() if point is settled[-1] else {})
                told.row(row, self._tables(point), point.time)
        if time.monotonic() - self._live_at >= LIVE_S:
            self._live()

    def finish(self) -> None:
        """Tell the end: the run's, or that it was interrupted."""
        end, deadline = self._fold.end, time.monotonic() + LAST_S
        while end is None and time.monotonic() < deadline:
            time.sleep(LOOK_S / 4)
            self.look()
            end = self._fold.end
        self._spent_at = 0.0
        self._live(alive=False)
        outcome = end["outcome"] if end else "yielded"
        for told, _ in self._told:
            told.finish(end["exit_code"] if end else INFRASTRUCTURE, goes_on=outcome == "yielded")

    def _standing(self) -> dict[str, float]:
        """Return what is told of the run as it is now, with the newest point."""
        worst = self._fold.stragglers.worst
        return {"goodput": self._fold.goodput() or 0.0, **({} if worst is None else {"straggler/worst": worst})}

    def _live(self, *, alive: bool = True) -> None:
        """Tell where the run stands. Where its time went follows from the whole journal, and is told less often."""
        begin = time.monotonic()
        if begin >= self._spent_at:
            # The plan again as well: what was decided on the way has made another one of it.
            self._spent, self._plan = account(read_journal(self._run)), read_plan(self._run)
            self._spent_at = time.monotonic() + max(ACCOUNT_S, 100 * (time.monotonic() - begin))
        for told, _ in self._told:
            told.summary(live_summary(self._fold, self._run.url, self._plan) | account_summary(self._spent))
        if self._gauge_file is not None:
            told = gauges(self._fold.name or self._run.name, self._fold, self._spent, self._plan,
                          alive=alive)
            try:
                write_atomic(self._gauge_file, (told.encode(),), durable=False)
            except OSError as error:
                log.warning("%s is not written: %s", self._gauge_file, error)
        self._live_at = time.monotonic()

    def _tables(self, point: Point) -> dict[str, Table]:
        found = dict[str, Table]()
        if (samples := samples_table(point.samples)) is not None:
            found["samples"] = samples
        matrix = self._fold.matrix
        if point.evaluation is not None and point.step in [border.step for border in matrix.borders if border.stage]:
            found["forgetting"] = forgetting_table(matrix, point.step)
        return found


def follow(run: RunDir, tracking: Tracking, lifeline: int) -> None:
    """Tell of a run until the lifeline closes, and then its end."""
    folder, recipe, plan = TrackingFolder(run), read_submission(run).recipe, read_plan(run)
    # Of a life whose command was killed, or that was itself: two must not write at a time.
    leave([process for process in folder.remembered() if process != process_id()], 0.0)
    folder.fetch()
    config = config_of(recipe.model_dump(mode="json", exclude_none=True), plan, run.url, _versions())
    wandb = WandbRun(folder, plan.name, tracking.wandb, config) if tracking.wandb else None
    board = _board(folder, config) if tracking.tensorboard else None
    folder.remember([process_id(), *descendants(process_id())])
    if wandb is not None:
        log.info("%s: %s", run.url, wandb.url or f"offline; `wandb sync {folder.path}/wandb/offline-run-*` sends it")
    if board is not None:
        log.info("%s: `tensorboard --logdir %s` shows it", run.url, board.path)
    written = [folder.key(path) for path in (*folder.logs(), *folder.event_files())]
    mirror = Mirror(run, written) if run.remote else None
    gauge_file = Path(tracking.prometheus.file) if tracking.prometheus else None
    tracker = Tracker(run, recipe, [told for told in (wandb, board) if told is not None], gauge_file)
    while not _closed(lifeline, LOOK_S):
        tracker.look()
    threading.Thread(target=_go, name="watchdog", daemon=True).start()
    tracker.look()
    tracker.finish()
    if mirror is not None:
        mirror.close()
    folder.bring()


def _board(folder: TrackingFolder, config: Mapping[str, Any]) -> Any:
    # Its package is not there for everybody.
    from launcher.report.tensorboard_run import TensorboardRun

    return TensorboardRun(folder, config)


def _versions() -> dict[str, str]:
    found = dict[str, str]()
    for name in VERSIONS:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _closed(lifeline: int, timeout_s: float) -> bool:
    """Wait for a while; return whether whoever holds the other end is gone."""
    readable, _, _ = select.select([lifeline], [], [], timeout_s)
    return bool(readable) and not os.read(lifeline, 4096)


def _go() -> None:
    time.sleep(GO_S)
    leave(list(descendants(process_id())), 0.0, 1.0)
    os._exit(1)


def main(arguments: Sequence[str]) -> int:
    """Live one tracker's life."""
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    run = RunDir(arguments[0])
    run.working = True
    tracking = read_submission(run).recipe.tracking
    # Also by hand, for a run that nobody tracked.
    follow(run, tracking or Tracking(wandb=WandbOptions()), sys.stdin.fileno())
    return FINISHED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
