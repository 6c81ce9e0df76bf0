"""The body of `launcher logs`: what the workers of an attempt printed, and with -f what they and the next ones do.

With -f a job of Slurm or Ray that waits is waited for, and so is the time between a job's allocations.
"""

import codecs
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

from launcher.cli.find_run import find_run
from launcher.cli.presence import Presence
from launcher.cli.queue import sentence, sight
from launcher.core.errors import UserError
from launcher.storage.growing import Growing, pause_s
from launcher.storage.run_dir import RunDir
from launcher.storage.run_start import next_attempt

CONTROLLER = "controller.log"

Write = Callable[[int, str, str], None]
"""Takes an attempt, a log's name and some text of it."""


def logs(argument: str, *, rank: int | None, attempt: int | None, follow: bool, as_json: bool = False) -> None:
    """Copy logs to standard output; with `follow`, until nobody works on the run and no job of it is queued. Without a
    rank, the controller's too.

    Without an attempt: the newest, and with `follow` those that come after it.
    """
    run, shown = find_run(argument)
    first = attempt or max(1, next_attempt(run) - 1)
    log = f"rank-{rank or 0:03d}.log"
    names = [log] if rank is not None else [CONTROLLER, log]
    presence = Presence(run, _tell)
    if not (follow and presence.look()):
        _require(run, shown, first, names)
    out = JsonLines() if as_json else Text(headers=len(names) > 1)
    tails = Tails(run, names, out.write)
    with suppress(KeyboardInterrupt):
        while True:
            # Looked at first: whatever those that are gone have printed is read below.
            goes_on = follow and presence.look()
            tails.copy(first, attempt or next_attempt(run) - 1)
            if not goes_on:
                break
            time.sleep(pause_s(run))
    out.end()
    if not as_json and not tails.wrote(log):
        began = next_attempt(run) > 1
        _tell(f"{shown}/{run.attempt_key(first, log)}: the worker printed nothing" if began else
              f"{shown}: {_none_yet(run)}")


def _require(run: RunDir, shown: str, attempt: int, names: Sequence[str]) -> None:
    """Raise UserError, which says what there is, if there is none of these logs."""
    if any(run.store.exists(run.attempt_key(attempt, name)) for name in names):
        return
    last = next_attempt(run) - 1
    if attempt > last:
        there = f"the last one is {last}" if last else _none_yet(run)
        raise UserError(f"{shown}: no attempt {attempt}; {there}")
    keys = run.store.list(run.attempt_key(attempt, "rank-"))
    ranks = sorted(key.rpartition("/")[2] for key in keys if key.endswith(".log"))
    there = (f"there are {len(ranks)}: {ranks[0]} to {ranks[-1]}" if ranks else
             f"no worker of it began; {shown}/{run.attempt_key(attempt, CONTROLLER)} tells why")
    raise UserError(f"{shown}: attempt {attempt} has no {names[-1]}; {there}")


def _none_yet(run: RunDir) -> str:
    """Return that a run has no attempt, and what becomes of its job if it has one."""
    return "; ".join(filter(None, ("there is none yet", sentence(sight(run)))))


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


class Tails:
    """Reads the logs of a run's attempts as they grow."""

    def __init__(self, run: RunDir, names: Sequence[str], write: Write) -> None:
        self._run, self._names, self._write = run, names, write
        self._files: dict[str, Growing] = {}
        self._decoders: dict[str, codecs.IncrementalDecoder] = {}

    def copy(self, first: int, last: int) -> None:
        """Write what is new in the logs of these attempts."""
        for attempt in range(first, last + 1):
            for name in self._names:
                for text in self._new(self._run.attempt_key(attempt, name)):
                    self._write(attempt, name, text)
        sys.stdout.flush()

    def wrote(self, name: str) -> bool:
        """Return whether anything was written of the logs with this name."""
        return any(file.offset and key.endswith(f"/{name}") for key, file in self._files.items())

    def _new(self, key: str) -> Iterator[str]:
        file = self._files.setdefault(key, Growing(self._run, key))
        decoder = self._decoders.setdefault(key, codecs.getincrementaldecoder("utf-8")(errors="replace"))
        return map(decoder.decode, file.new())


class Text:
    """Writes text as it is, with a line that says whose it is where that changes."""

    def __init__(self, *, headers: bool) -> None:
        self._headers = headers
        self._last: tuple[int, str] | None = None

    def write(self, attempt: int, name: str, text: str) -> None:
        """Write some text of a log."""
        if self._last != (attempt, name) and (self._headers or self._last):
            sys.stdout.write(f"{'' if self._last is None else chr(10)}==> attempt {attempt}, {name} <==\n")
        self._last = attempt, name
        sys.stdout.write(text)

    def end(self) -> None:
        """Nothing is held back."""


class JsonLines:
    """Writes an object for each whole line."""

    def __init__(self) -> None:
        self._rests: dict[tuple[int, str], str] = {}

    def write(self, attempt: int, name: str, text: str) -> None:
        """Write the lines that some text of a log completes."""
        *lines, self._rests[attempt, name] = (self._rests.get((attempt, name), "") + text).split("\n")
        for line in lines:
            sys.stdout.write(json.dumps({"attempt": attempt, "log": name, "line": line}) + "\n")

    def end(self) -> None:
        """Write what no line's end came after."""
        for (attempt, name), rest in list(self._rests.items()):
            if rest:
                self.write(attempt, name, "\n")
