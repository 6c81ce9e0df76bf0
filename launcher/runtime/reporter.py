"""What a worker tells: events and heartbeats into its mailbox. Nobody is called; whoever started the worker looks.

A thread beats as long as Python runs; the loop only says where it is. So a heartbeat that stops means a process that is
stopped or a call that holds the interpreter, and one that goes on without getting further means waiting.
"""

import os
import threading
import time
import traceback
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Any

from launcher.core.errors import Diverged, LauncherError, PlatformError, RunFailed, UserError
from launcher.core.events import Event
from launcher.core.failure import FailureKind, WorkerFailure
from launcher.storage.files import full_disk
from launcher.storage.mailbox import Mailbox

BEAT_S = 0.5
"""Between heartbeats: a hang is judged in seconds, and each takes a tenth of a millisecond from the step."""

RECENT_S, RECENT = 20.0, 5000
"""Of events remembered, beyond those that have arrived, and in all: a journal's last seconds may be lost with its
machine, and a worker whose node is cut off trains on alone for a minute or two."""


class Reporter:
    """Writes a rank's events; remembers where the rank is, for the day it fails."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox
        self.rank, self.node = 0, ""
        # One value, replaced as a whole: the heartbeat's thread reads it at any moment.
        self._where = ("imports", 0)
        self._work = 0
        self._recent: deque[dict[str, Any]] = deque(maxlen=RECENT)

    @property
    def step(self) -> int:
        """Return the step that this rank is in."""
        return self._where[1]

    @property
    def phase_name(self) -> str:
        """Return the phase that this rank is in."""
        return self._where[0]

    def start_beating(self) -> None:
        """Show from now on that the process lives."""
        threading.Thread(target=self._beat_for_ever, name="heartbeat", daemon=True).start()

    def place(self, rank: int, node: str) -> None:
        """Say which rank this is, once the orders are known."""
        self.rank, self.node = rank, node

    def event(self, event: Event) -> None:
        """Report an event for the journal, with the time of now."""
        told = {**event.model_dump(mode="json"), "time": time.time()}
        self._mailbox.report(told)
        self._recent.append(told)

    def recent(self) -> tuple[dict[str, Any], ...]:
        """Return the events that may not have arrived: a checkpoint carries them, for when nobody reads the mailbox."""
        kept = self._mailbox.heard() - RECENT_S
        return tuple(event for event in self._recent if event["time"] > kept)

    def tell(self, name: str, **fields: object) -> None:
        """Report something to the starter that is not for the journal."""
        self._mailbox.report({"event": name, "time": time.time(), **fields})

    def phase(self, name: str, step: int) -> None:
        """Enter a phase of a step, and say so."""
        self._where = (name, step)
        self.tell("phase", phase=name, step=step)

    def beat(self, step: int, phase: str = "step") -> None:
        """Enter a part of a step. On the path of every step: the heartbeat's thread tells it."""
        self._where = (phase, step)

    @contextmanager
    def during(self, phase: str, step: int) -> Generator[None]:
        """Be in a phase within another one."""
        before, self._where = self._where, (phase, step)
        yield
        self._where = before  # not after an error: that is where it failed

    def progress(self) -> None:
        """Show that something came of a long phase: a batch was evaluated, a piece was written. From any thread."""
        self._work += 1

    def failed(self, error: BaseException) -> None:
        """Report how this rank failed."""
        # What is known to go wrong says itself what to do about it.
        known = str(error) if isinstance(error, LauncherError) else full_disk(error)
        text = "" if known else "".join(traceback.format_exception(error))
        message = known or f"{type(error).__name__}: {error}".strip()
        failure = WorkerFailure(rank=self.rank, node=self.node, kind=kind_of(error), traceback=text, message=message,
                                step=self.step, phase=self.phase_name)
        self._mailbox.report({"event": "failed", "time": time.time(), **failure.model_dump(mode="json")})

    def _beat_for_ever(self) -> None:
        rest = threading.Event()
        while True:
            # A full disk: the loop's next event tells it better than this thread could.
            with suppress(OSError):
                self._mailbox.beat(*self._where, self._work)
            rest.wait(BEAT_S)


def kind_of(error: BaseException) -> FailureKind:
    """Return the class of a worker's own failure, by the error's type and text."""
    name, text = type(error).__name__, str(error).lower()
    if isinstance(error, MemoryError) or name == "OutOfMemoryError" or "out of memory" in text:
        return FailureKind.OUT_OF_MEMORY
    if isinstance(error, Diverged):
        return FailureKind.DIVERGENCE
    # A missing package: transformers names the one that the recipe's attention or adapter needs.
    if isinstance(error, UserError | ImportError):
        return FailureKind.BAD_INPUT
    if isinstance(error, OSError | PlatformError | RunFailed) and not isinstance(error, ConnectionError):
        return FailureKind.STORAGE
    return FailureKind.WORKER_CRASH


def resident_bytes() -> int:
    """Return this process's resident memory."""
    with open("/proc/self/statm", "rb") as file:  # noqa: PTH123  (read each step: the plain call is the cheap one)
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
