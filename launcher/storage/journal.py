"""The journal: every event of a run, one JSON object a line, in order.

The controller is its one writer. Each attempt's events stand in the attempt's own segment too; the whole journal is
their concatenation. A torn last line, left by a crash, is cut by the next writer and skipped by readers. While the disk
is full, lines wait in memory: what a full disk means for training is for the saves to say.
"""

import json
import os
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from launcher.core.errors import UserError
from launcher.core.events import Event
from launcher.storage.files import append_whole, is_full, write_atomic
from launcher.storage.growing import Growing
from launcher.storage.run_dir import RunDir

UNSAID = "unsaid.jsonl"
ALWAYS = frozenset({"event", "time", "attempt"})
"""What every event says."""


class _File:
    """One of the files that a writer appends to."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)
        self.waiting: deque[bytes] = deque()
        """Lines that the disk had no room for."""

    def append(self, *lines: bytes, durable: bool) -> None:
        """Write what waits and these lines, as far as there is room."""
        self.waiting.extend(lines)
        try:
            while self.waiting:
                append_whole(self._file.fileno(), self.waiting[0])
                self.waiting.popleft()
            if durable:
                os.fsync(self._file.fileno())
        except OSError as error:
            if not is_full(error):
                raise

    def close(self) -> None:
        self.append(durable=True)
        self._file.close()


class Journal:
    """The writer."""

    def __init__(self, run: RunDir, attempt: int) -> None:
        self.attempt, self._run = attempt, run
        whole = run.path / run.JOURNAL
        whole.parent.mkdir(parents=True, exist_ok=True)
        cut_torn_line(whole)
        self._segment, self._whole = _File(run.attempt_path(attempt, "journal.jsonl")), _File(whole)

    @property
    def unsaid(self) -> list[dict[str, Any]]:
        """Return the events that are not in the journal, for want of room."""
        return [json.loads(line) for line in self._whole.waiting]

    def append(self, event: Event | dict[str, Any], *, durable: bool = False) -> dict[str, Any]:
        """Write one event, its time and attempt filled in where missing, and return it as written."""
        line = event.model_dump(mode="json") if isinstance(event, Event) else dict(event)
        line["time"] = line.get("time") or time.time()
        line["attempt"] = self.attempt
        text = (json.dumps(line, ensure_ascii=False) + "\n").encode()
        for file in (self._segment, self._whole):
            file.append(text, durable=durable)
        return line

    def next(self, attempt: int) -> "Journal":
        """Return the writer for another attempt and close this one. Raises OSError, and this one goes on."""
        following = Journal(self._run, attempt)
        # Written by one of the two only.
        for mine, theirs in ((self._segment, following._segment), (self._whole, following._whole)):
            theirs.waiting.extend(mine.waiting)
            mine.waiting.clear()
        self.close()
        return following

    def close(self) -> None:
        """Make everything durable, as far as there is room, and close the files."""
        for file in (self._segment, self._whole):
            file.close()


def keep_unsaid(folder: Path, events: list[dict[str, Any]]) -> None:
    """Leave a controller's last words, for which there was no room in the journal, to the command that started it."""
    with suppress(OSError):  # On the same full disk: then its exit code is all that is told.
        if events:
            write_atomic(folder / UNSAID, ((json.dumps(event) + "\n").encode() for event in events), make_folder=False)


def unsaid_in(folder: Path) -> list[dict[str, Any]]:
    """Return the last words that a controller left in its folder."""
    try:
        return [json.loads(line) for line in (folder / UNSAID).read_bytes().split(b"\n") if line]
    except FileNotFoundError:
        return []


class JournalReader:
    """Follows a journal that may be growing."""

    def __init__(self, run: RunDir) -> None:
        self._file = Growing(run, run.JOURNAL)
        self._run, self._rest, self._lines = run, b"", 0

    def new_events(self) -> list[dict[str, Any]]:
        """Return the events written since the last call; an unfinished last line waits. Raises UserError as `each`."""
        return list(self.each())

    def each(self) -> Iterator[dict[str, Any]]:
        """Yield the same one by one. Raises UserError at a line that is no event: of another program, or damaged."""
        for line in self.new_lines():
            self._lines += 1
            yield self._event(line)

    def _event(self, line: bytes) -> dict[str, Any]:
        try:
            event = json.loads(line)
        except ValueError:
            event = None
        if isinstance(event, dict) and (found := cast(dict[str, Any], event)).keys() >= ALWAYS:
            return found
        raise UserError(f"{self._run.url}/{self._run.JOURNAL}:{self._lines}: no event of a run; launcher did not write "
                        "this line, or it was damaged since. Remove it, or name another run")

    def new_lines(self) -> list[bytes]:
        """Return the same as they are written: a long journal takes several times the room once it is read."""
        *lines, self._rest = (self._rest + b"".join(self._file.new())).split(b"\n")
        return [line for line in lines if line]


def read_journal(run: RunDir) -> Iterator[dict[str, Any]]:
    """Yield the events of a run so far; a torn last line is left out."""
    yield from JournalReader(run).each()


def cut_torn_line(path: Path) -> int:
    """Cut an unfinished last line from a file; return how many bytes went."""
    if not path.exists():
        return 0
    data = path.read_bytes()
    keep = data.rfind(b"\n") + 1
    if keep < len(data):
        os.truncate(path, keep)
    return len(data) - keep
