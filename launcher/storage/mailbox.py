"""The mailbox: a node-local folder per worker, the only door between a worker and whoever started it.

    orders.json, rendezvous.json, stop.json   written by the starter, replaced atomically, read by the worker
    events.jsonl, heartbeat.json, stacks.txt  written by the worker, read by the starter
    lifeline                                  a FIFO that the starter holds open; when it closes the worker is an orphan
    process.json, exit.json                   written by the worker's parent: its pid and start time, and how it ended
    heard                                     touched by the starter: the time until which events have arrived

Each file has one writer. Under Ray the starter is the node's agent; under plain `python -m launcher.runtime.worker`
it is whoever types that.
"""

import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from launcher.core.document import Document
from launcher.storage.files import append_whole, write_atomic

POLL_S = 0.02
"""Between looks at the folder while waiting: short against a start-up of seconds, long against a look of 10 us."""


class Mailbox:
    """One worker's mailbox, from either side."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self._read = 0
        self._rest = b""
        self._taken = self._taken_before = 0.0
        self._beaten: tuple[int, int] | None = None
        self._heartbeat: dict[str, Any] | None = None

    def create(self) -> "Mailbox":
        """Make the folder and its lifeline; the starter does this before the worker exists."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.mkfifo(self.folder / "lifeline", 0o600)
        return self

    @property
    def lifeline(self) -> Path:
        """Return the FIFO's path."""
        return self.folder / "lifeline"

    @property
    def stacks(self) -> Path:
        """Return where a worker without orders writes its stacks when asked."""
        return self.folder / "stacks.txt"

    def deliver(self, letter: str, content: Document | dict[str, Any]) -> None:
        """Put a letter (orders, rendezvous, stop, process, exit) into the mailbox, replacing one of the same name."""
        text = content.model_dump_json() if isinstance(content, Document) else json.dumps(content)
        # Node-local and worthless after the attempt: not worth an fsync, which costs tens of milliseconds.
        write_atomic(self.folder / f"{letter}.json", (text.encode(),), durable=False)

    def look(self, letter: str) -> dict[str, Any] | None:
        """Return a letter's content, or None if it is not there."""
        try:
            return json.loads((self.folder / f"{letter}.json").read_bytes())
        except FileNotFoundError:
            return None

    def wait(self, letter: str, *, alive: Callable[[], bool], timeout_s: float) -> dict[str, Any] | None:
        """Wait for a letter. Returns None when `alive` says no, raises TimeoutError after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while (found := self.look(letter)) is None:
            if not alive():
                return None
            if time.monotonic() > deadline:
                raise TimeoutError(f"no {letter} came within {timeout_s:.0f} s")
            time.sleep(POLL_S)
        return found

    def report(self, event: Document | dict[str, Any]) -> None:
        """Append one event of the worker's, whole or not at all as readers see it."""
        line = (event.model_dump_json() if isinstance(event, Document) else json.dumps(event)) + "\n"
        descriptor = os.open(self.folder / "events.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            append_whole(descriptor, line.encode())
        finally:
            os.close(descriptor)

    def take_events(self) -> list[dict[str, Any]]:
        """Return the events reported since the last call; an unfinished last line waits for the next."""
        self._taken_before, self._taken = self._taken, time.time()
        try:
            with (self.folder / "events.jsonl").open("rb") as file:
                file.seek(self._read)
                data = file.read()
        except FileNotFoundError:
            return []
        self._read += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def confirm(self) -> None:
        """Tell the worker what has arrived. Call where whoever is given events asks again only once they are kept."""
        if self._taken_before:
            with suppress(OSError):  # The worker then keeps more than it must.
                (self.folder / "heard").touch()
                os.utime(self.folder / "heard", (self._taken_before, self._taken_before))

    def heard(self) -> float:
        """Return until when events are known to have arrived, in UTC seconds; 0 before any are."""
        try:
            return (self.folder / "heard").stat().st_mtime
        except OSError:
            return 0.0

    def beat(self, phase: str, step: int, work: int) -> None:
        """Say that the worker is alive, in what phase of which step, and its count of signs of progress."""
        content = json.dumps({"phase": phase, "step": step, "work": work, "time": time.time()})
        # A folder that is gone was removed by its starter, and must not come back.
        write_atomic(self.folder / "heartbeat.json", (content.encode(),), durable=False, make_folder=False)

    def heartbeat(self) -> dict[str, Any] | None:
        """Return the worker's last heartbeat, the same object until there is another; None before the first."""
        try:
            found = os.stat(self.folder / "heartbeat.json")  # noqa: PTH116  (five times a second for every worker)
            if (mark := (found.st_ino, found.st_mtime_ns)) != self._beaten:
                self._heartbeat, self._beaten = self.look("heartbeat"), mark
        except FileNotFoundError:
            return None
        return self._heartbeat
