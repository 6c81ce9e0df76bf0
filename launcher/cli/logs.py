"""The body of `launcher logs`: how an attempt got on and what its workers printed, and with -f how it and the next ones
do.

With -f a job of Slurm or Ray that waits is waited for, and so is the time between a job's allocations.
"""

import codecs
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

from launcher.cli.find_run import find_run
from launcher.cli.job_words import job_words
from launcher.cli.presence import Presence
from launcher.cli.progress import Line, Progress
from launcher.cli.queue import sentence, sight
from launcher.core.errors import LauncherError, RunFailed, UserError
from launcher.report.fitting import columns, wrapped
from launcher.report.fold import RunFold
from launcher.storage.growing import Growing, pause_s
from launcher.storage.journal import read_journal
from launcher.storage.run_dir import RunDir
from launcher.storage.run_start import next_attempt

CONTROLLER = "controller.log"

Write = Callable[[int, str, str], None]
"""Takes an attempt, a log's name and some text of it."""


def logs(argument: str, *, rank: int | None, attempt: int | None, follow: bool, as_json: bool = False) -> None:
    """Copy logs to standard output; with `follow`, until nobody works on the run and no job of it is queued. Without a
    rank, the controller's too, and how training gets on.

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
    tails = Tails(run, names, out.write, None if rank is not None else Progress(run, shown, first, attempt))
    with suppress(KeyboardInterrupt):
        while True:
            # Looked at first: whatever those that are gone have printed is read below.
            goes_on = follow and presence.look()
            tails.copy(first, attempt or next_attempt(run) - 1)
            if not goes_on:
                break
            time.sleep(pause_s(run))
    out.end()
    if next_attempt(run) == 1:
        _tell_none(_none_yet(run, shown))
    elif follow and (words := job_words(run, presence.seen, RunFold(read_journal(run)))):
        _tell(f"{sentence(presence.seen)}{words}")
    elif not as_json and not tails.wrote(log):
        _tell(f"{shown}/{run.attempt_key(first, log)}: the worker printed nothing")


def _require(run: RunDir, shown: str, attempt: int, names: Sequence[str]) -> None:
    """Raise UserError, which says what there is, if there is none of these logs."""
    if any(run.store.exists(run.attempt_key(attempt, name)) for name in names):
        return
    last = next_attempt(run) - 1
    if not last:
        raise _none_yet(run, shown)
    if attempt > last:
        raise UserError(f"{shown}: no attempt {attempt}; the last one is {last}")
    keys = run.store.list(run.attempt_key(attempt, "rank-"))
    ranks = sorted(key.rpartition("/")[2] for key in keys if key.endswith(".log"))
    there = (f"there are {len(ranks)}: {ranks[0]} to {ranks[-1]}" if ranks else
             f"no worker of it began; {shown}/{run.attempt_key(attempt, CONTROLLER)} tells why")
    raise UserError(f"{shown}: attempt {attempt} has no {names[-1]}; {there}")


def _none_yet(run: RunDir, shown: str) -> LauncherError:
    """Return that a run has not begun: UserError while it still may, RunFailed with the reason if its job is over."""
    seen = sight(run)
    told = "; ".join(filter(None, (f"{shown}: the run has not begun", sentence(seen))))
    if seen.record is None or seen.live or seen.trouble:
        return UserError(f"{told}. Its logs begin with its first attempt")
    words = job_words(run, seen, RunFold(read_journal(run)))
    return RunFailed(told + (str(words) if words else f"\nnext   launcher status {shown}"))


def _tell_none(error: LauncherError) -> None:
    """Tell a follower who has seen nothing; raise what is wrong."""
    if not isinstance(error, UserError):
        raise error
    _tell(str(error))


def _tell(line: str) -> None:
    sys.stderr.write(wrapped("", line, columns(sys.stderr)) + "\n")
    sys.stderr.flush()


class Tails:
    """Reads the logs of a run's attempts as they grow."""

    def __init__(self, run: RunDir, names: Sequence[str], write: Write, progress: Progress | None = None) -> None:
        self._run, self._names, self._write, self._progress = run, names, write, progress
        self._files: dict[str, Growing] = {}
        self._decoders: dict[str, codecs.IncrementalDecoder] = {}

    def copy(self, first: int, last: int) -> None:
        """Write what is new in the logs of these attempts, and behind each how it got on."""
        told = self._progress.new() if self._progress else []
        for attempt in range(first, last + 1):
            for name in self._names:
                for text in self._new(self._run.attempt_key(attempt, name)):
                    self._write(attempt, name, text)
            self._tell([line for line in told if line[0] == attempt])
        # Of an attempt that has no folder: it began since that was looked at, or could not begin.
        self._tell([line for line in told if line[0] > last])
        sys.stdout.flush()

    def wrote(self, name: str) -> bool:
        """Return whether anything was written of the logs with this name, or of how the run got on."""
        return any(file.offset and key.endswith(f"/{name}") for key, file in self._files.items()) or (
            self._progress is not None and self._progress.told)

    def _tell(self, lines: Sequence[Line]) -> None:
        for attempt, _, text in lines:
            self._write(attempt, Progress.NAME, f"{text}\n")

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
