"""Watching a run from the command that started it: the live view, the signals, the last words, the exit code."""

import signal
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType

from rich.console import Console

from launcher.core.errors import INFRASTRUCTURE, YIELDED, Yielded
from launcher.core.events import StopRequested
from launcher.orchestration.requests import SIGNALS
from launcher.orchestration.supervisor import Supervisor
from launcher.report.fold import RunFold
from launcher.report.live import View, open_view
from launcher.report.summary import print_summary
from launcher.storage.journal import JournalReader
from launcher.storage.run_dir import RunDir
from launcher.storage.run_start import next_attempt

POLL_S = 0.1

STOPPED = (YIELDED, -signal.SIGTERM)
"""How a controller ends that was stopped before it could say so: the signal may come before it takes signals."""
Revive = Callable[[str], None]
"""Puts another controller in the place of one that ended as told."""
REVIVALS_IN_VAIN = 2
"""Controllers in a row that end without a word in the journal; how many may end with one is the controller's to say."""


def watch(console: Console, run: RunDir, shown: str, supervisor: Supervisor, revive: Revive) -> int:
    """Follow the journal until the run has ended, over any number of controllers; return the run's exit code."""
    reader = JournalReader(run)
    fold = RunFold(reader.new_events())
    before = fold.attempt
    view = open_view(console)
    try:
        _follow(reader, fold, view, supervisor, revive)
    finally:
        view.close()
    if fold.end is None or fold.attempt == before:
        return _died(console, run, shown, fold, supervisor)
    print_summary(console, run, shown, fold)
    return int(fold.end["exit_code"])


def _follow(reader: JournalReader, fold: RunFold, view: View, supervisor: Supervisor, revive: Revive) -> None:
    in_vain = 0
    while True:
        # Looked at first: whatever a controller that is gone has written is read below.
        gone = supervisor.exit_code()
        events = reader.new_events() + ([] if gone is None else supervisor.unsaid())
        fold.add(*events)
        if events:
            view.show(fold, events)
            in_vain = 0
        if any(event["event"] == "run_ended" for event in events):
            return
        if gone is not None:
            in_vain += 1
            if gone in STOPPED or supervisor.asked or in_vain > REVIVALS_IN_VAIN:
                return
            revive(how_ended(gone))
        time.sleep(POLL_S)


def how_ended(code: int | None) -> str:
    """Return how a process ended, by its exit status."""
    return f"by {signal.Signals(-code).name}" if code is not None and code < 0 else f"with exit code {code}"


def _died(console: Console, run: RunDir, shown: str, fold: RunFold, supervisor: Supervisor) -> int:
    """Tell that the controller ended without a last word, and what it printed."""
    code = supervisor.exit_code()
    if code in STOPPED:
        console.print(f"{fold.name or shown} was stopped before it began\nnext   launcher resume {shown}",
                      highlight=False, soft_wrap=True)
        return YIELDED
    log = run.path / run.attempt_key(next_attempt(run) - 1, "controller.log")
    # What it printed before its attempt had a log is gone with its folder in a moment.
    printed = "".join(path.read_text(errors="replace") for path in (supervisor.early_log, log) if path.exists())
    console.print(f"{fold.name or shown} was interrupted: its controller ended {how_ended(code)}\n"
                  f"log    {log}\n{printed[-2000:]}\nnext   launcher resume {shown}",
                  highlight=False, soft_wrap=True, markup=False)
    return YIELDED if supervisor.asked else INFRASTRUCTURE


@contextmanager
def leaving_on_signals(told: str) -> Generator[None]:
    """Make signals end what happens inside with one message: before the word to go nothing has begun."""

    def leave(_number: int, _frame: FrameType | None) -> None:
        raise Yielded(told)

    with handling(leave):
        yield


@contextmanager
def relaying(supervisor: Supervisor) -> Generator[None]:
    """Relay signals as requests to stop, and restore the handlers afterwards."""

    def relay(number: int, _frame: FrameType | None) -> None:
        supervisor.stop(StopRequested(reason="signal", deadline=None), insisting=number == signal.SIGINT)

    with handling(relay):
        yield


@contextmanager
def interrupted_by_signals() -> Generator[None]:
    """Let a signal end a command as Ctrl-C does, through everything that ends what it started."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        for number in SIGNALS:  # Ending everything takes seconds, and is not to be interrupted itself.
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    with handling(interrupt):
        yield


@contextmanager
def handling(handler: Callable[[int, FrameType | None], None]) -> Generator[None]:
    """Handle the signals that ask for an end, and restore the handlers afterwards."""
    before = {number: signal.signal(number, handler) for number in SIGNALS}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
