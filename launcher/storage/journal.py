"""The journal: every event of a run, one JSON object a line, in order.

The controller is its one writer. Each attempt's events stand in the attempt's own segment too; the whole journal is
their concatenation. A torn last line, left by a crash, is cut by the next writer and skipped by readers.
"""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from launcher.core.events import Event
from launcher.storage.files import append_whole
from launcher.storage.run_dir import RunDir


class Journal:
    """The writer."""

    def __init__(self, run: RunDir, attempt: int) -> None:
        self.attempt = attempt
        whole = run.path / run.JOURNAL
        whole.parent.mkdir(parents=True, exist_ok=True)
        cut_torn_line(whole)
        paths = (run.attempt_path(attempt, "journal.jsonl"), whole)
        self._files = tuple(path.open("ab", buffering=0) for path in paths)

    def append(self, event: Event | dict[str, Any], *, durable: bool = False) -> dict[str, Any]:
        """Write one event, its time and attempt filled in where missing, and return it as written."""
        line = event.model_dump(mode="json") if isinstance(event, Event) else dict(event)
        line["time"] = line.get("time") or time.time()
        line["attempt"] = self.attempt
        text = (json.dumps(line, ensure_ascii=False) + "\n").encode()
        for file in self._files:
            append_whole(file.fileno(), text)
            if durable:
                os.fsync(file.fileno())
        return line

    def close(self) -> None:
        """Make everything durable and close the files."""
        for file in self._files:
            os.fsync(file.fileno())
            file.close()


class JournalReader:
    """Follows a journal that may be growing."""

    def __init__(self, run: RunDir) -> None:
        self._path = run.path / run.JOURNAL
        self._offset = 0
        self._rest = b""

    def new_events(self) -> list[dict[str, Any]]:
        """Return the events written since the last call; an unfinished last line waits."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return []
        self._offset += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [json.loads(line) for line in lines if line]


def read_journal(run: RunDir) -> Iterator[dict[str, Any]]:
    """Yield the events of a run so far; a torn last line is left out."""
    yield from JournalReader(run).new_events()


def cut_torn_line(path: Path) -> int:
    """Cut an unfinished last line from a file; return how many bytes went."""
    if not path.exists():
        return 0
    data = path.read_bytes()
    keep = data.rfind(b"\n") + 1
    if keep < len(data):
        os.truncate(path, keep)
    return len(data) - keep
