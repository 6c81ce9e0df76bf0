"""What a worker tells: events and heartbeats into its mailbox. Nobody is called; whoever started the worker looks."""

import os
import time
import traceback

from launcher.core.errors import UserError
from launcher.core.events import Event
from launcher.core.failure import FailureKind, WorkerFailure
from launcher.storage.mailbox import Mailbox

BEAT_S = 0.5
"""Between heartbeats: a hang is judged in seconds, and a file a step would cost short steps a percent."""


class Reporter:
    """Writes a rank's events; remembers where the rank is, for the day it fails."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox
        self.rank, self.node = 0, ""
        self.phase_name, self.step = "imports", 0
        self._beaten = 0.0

    def place(self, rank: int, node: str) -> None:
        """Say which rank this is, once the orders are known."""
        self.rank, self.node = rank, node

    def event(self, event: Event) -> None:
        """Report an event for the journal, with the time of now."""
        self._mailbox.report({**event.model_dump(mode="json"), "time": time.time()})

    def tell(self, name: str, **fields: object) -> None:
        """Report something to the starter that is not for the journal."""
        self._mailbox.report({"event": name, "time": time.time(), **fields})

    def phase(self, name: str, step: int) -> None:
        """Enter a phase of a step."""
        self.phase_name, self.step = name, step
        self._mailbox.beat(name, step)
        self.tell("phase", phase=name, step=step)

    def beat(self, step: int) -> None:
        """Show now and then that the rank is alive and which step it is in."""
        self.step = step
        if (now := time.monotonic()) - self._beaten >= BEAT_S:
            self._beaten = now
            self._mailbox.beat(self.phase_name, step)

    def failed(self, error: BaseException) -> None:
        """Report how this rank failed."""
        text = "".join(traceback.format_exception(error))
        failure = WorkerFailure(rank=self.rank, node=self.node, kind=kind_of(error), traceback=text,
                                message=f"{type(error).__name__}: {error}".strip(), step=self.step,
                                phase=self.phase_name)
        self._mailbox.report({"event": "failed", "time": time.time(), **failure.model_dump(mode="json")})


def kind_of(error: BaseException) -> FailureKind:
    """Return the class of a worker's own failure, by the error's type and text."""
    name, text = type(error).__name__, str(error).lower()
    if isinstance(error, MemoryError) or name == "OutOfMemoryError" or "out of memory" in text:
        return FailureKind.OUT_OF_MEMORY
    # A missing package: transformers names the one that the recipe's attention or adapter needs.
    if isinstance(error, UserError | ImportError):
        return FailureKind.BAD_INPUT
    if isinstance(error, OSError) and not isinstance(error, ConnectionError):
        return FailureKind.STORAGE
    return FailureKind.WORKER_CRASH


def resident_bytes() -> int:
    """Return this process's resident memory."""
    with open("/proc/self/statm", "rb") as file:  # noqa: PTH123  (read each step: the plain call is the cheap one)
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
