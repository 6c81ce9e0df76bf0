"""What is asked of the controller while it works: to go, to stop, to stop at once.

The supervisor writes JSON lines to the controller's standard input; signals reach it as well where a batch system
sends them to every process. All become one `Go` and one `StopRequested` that the controller looks at.
"""

import signal
import sys
import threading
from types import FrameType
from typing import IO, Literal

from pydantic import TypeAdapter

from launcher.core.attempt import AttemptPlan
from launcher.core.document import Document
from launcher.core.events import StopReason, StopRequested
from launcher.core.recipe_running import CheckpointPolicy, ClusterWish
from launcher.core.run_plan import RunPlan

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)


class Go(Document):
    """Begin the attempt: plan and run directory are settled."""

    line: Literal["go"] = "go"
    run_dir: str
    cache: str
    plan: RunPlan
    attempt: int
    placed: AttemptPlan | None
    """None on an existing cluster: only there is it known what nodes there are."""
    wish: ClusterWish = ClusterWish()
    """What was asked for, where it is not placed yet."""
    micro_batch: int | Literal["auto"] = "auto"
    checkpoint: CheckpointPolicy = CheckpointPolicy()
    """When to save."""
    typed: float
    """When the command was typed, UTC seconds: phases count from here."""
    phases: dict[str, tuple[float, float]]
    """Start and end of what the command did until now, seconds since then."""


class Stop(Document):
    """Stop after the step; a second one ends the workers at once."""

    line: Literal["stop"] = "stop"
    request: StopRequested
    at_once: bool = False


_LINES: TypeAdapter[Go | Stop] = TypeAdapter(Go | Stop)


class Requests:
    """Collects what is asked, from any thread or signal handler."""

    def __init__(self) -> None:
        self.stop: StopRequested | None = None
        self.at_once = False
        self.orphaned = False
        self._go: Go | None = None
        self._settled = threading.Event()

    def listen(self, lines: IO[str]) -> None:
        """Read the supervisor's lines in a thread, until it closes them or dies."""
        threading.Thread(target=self._read, args=(lines,), name="requests", daemon=True).start()

    def take_signals(self) -> None:
        """Make signals stop requests. Call from the main thread; once more after `ray.init`, which takes SIGTERM."""
        for number in SIGNALS:
            signal.signal(number, self._on_signal)

    def wait_go(self) -> Go | None:
        """Wait for the order to begin; None if a stop came first. A stop may have come with it, too."""
        self._settled.wait()
        return self._go

    def ask_stop(self, reason: StopReason) -> None:
        """Ask for a stop from inside; the first reason stands."""
        self.stop = self.stop or StopRequested(reason=reason, deadline=None)
        self._settled.set()

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.ask_stop("signal")

    def _read(self, lines: IO[str]) -> None:
        for text in lines:
            line = _LINES.validate_json(text)
            if isinstance(line, Go):
                self._go = line
                self._settled.set()
            else:
                self.stop = self.stop or line.request
                self.at_once = self.at_once or line.at_once
                self._settled.set()
        self.orphaned = True
        self.ask_stop("orphaned")


def standard_input() -> IO[str]:
    """Return the stream on which the supervisor speaks."""
    return sys.stdin
