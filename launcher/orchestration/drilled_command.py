"""One `launcher run` of a drill, seen from outside: its journal, its exit code, everybody who belongs to it.

Waits for what must come, and ends everything when that is over. Whom to hurt is `orchestration.faults`, why
`orchestration.drill`.
"""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher.core.errors import PlatformError
from launcher.orchestration.faults import LivingRun, nobody
from launcher.storage.journal import read_journal
from launcher.storage.process_id import ProcessId, command_line, descendants, leave, process_id, wait_gone
from launcher.storage.run_dir import RunDir

POLL_S = 0.03
LIMIT_S = 600.0
"""Without a word in the journal: a model is read and an engine built within it, on a loaded machine too."""
GONE_S = 15.0
"""For the processes of a run after its command's end: the time that orphans give themselves, and five seconds."""


class NotRight(PlatformError):
    """A run did what it must not do."""


@dataclass(frozen=True, slots=True)
class Ground:
    """Where a drill's commands are given: here, or on a machine of a cluster."""

    prefix: tuple[str, ...] = ()
    """What their command lines begin with. It must become the command, under the same pid."""
    elsewhere: Callable[[], Iterable[ProcessId]] = nobody
    """Who belongs to the run on other machines."""


HERE = Ground()


class Command:
    """One `launcher run` at work."""

    def __init__(self, arguments: Sequence[str], run: RunDir, log: Path, ground: Ground = HERE) -> None:
        words = [*ground.prefix, sys.executable, "-m", "launcher.cli.main", *arguments]
        with log.open("ab") as output:
            # Of a session of its own: a terminal's Ctrl-C is the drill's to answer.
            self._child = subprocess.Popen(words, stdout=output, stderr=output, stdin=subprocess.DEVNULL,
                                           start_new_session=True)
        self.run, self._log = run, log
        self.living = LivingRun(run, process_id(self._child.pid), ground.elsewhere)
        self.family: dict[int, ProcessId] = {}
        """Everybody who was ever seen."""
        self.scratches: set[Path] = set()
        self.controller_gone: float | None = None
        """When the one that was watched was seen to be."""
        self._watched: ProcessId | None = None
        self._looked = self._news = 0.0
        self._told = 0

    def watch_controller(self) -> None:
        """Notice from now on when the present controller is gone."""
        self._watched, self.controller_gone = self.living.controller(), None

    def events(self) -> list[dict[str, Any]]:
        """Return the run's journal."""
        return list(read_journal(self.run))

    def exit_code(self) -> int | None:
        """Return how the command ended, or None."""
        return self._child.poll()

    def until(self, condition: Callable[[], Any], what: str, *, may_end: bool = False) -> None:
        """Wait for a condition. Raises NotRight if it does not come, or the command ends before."""
        self._news = time.monotonic()
        while not condition():
            if not may_end and self.exit_code() is not None and not condition():
                raise NotRight(f"{what}: the command ended with {self.exit_code()} before; {self.said()}")
            if time.monotonic() - self._news > LIMIT_S:
                raise NotRight(f"{what}: nothing of it, and no word in the journal for {LIMIT_S:.0f} s")
            self.look()
            if self._watched and self.controller_gone is None and not self._watched.state():
                # A process that ended is there until its parent has noticed.
                self.controller_gone = time.time()
            time.sleep(POLL_S)

    def look(self, *, now: bool = False) -> None:
        """Remember who belongs to the run: a child whose parent dies is nobody's."""
        if now or time.monotonic() - self._looked > 0.5:
            self.family |= {each.pid: each for each in self.living.family()}
            scratch = self.living.scratch()
            self.scratches |= {scratch} if scratch else set()
            self._looked = time.monotonic()
            told = len(self.events())
            self._news, self._told = (self._news, told) if told == self._told else (self._looked, told)

    def said(self) -> str:
        """Return the end of what the command printed."""
        return self._log.read_text(errors="replace")[-1500:]

    def left(self) -> list[str]:
        """Wait until nothing of the run is left; return what stays nevertheless."""
        stay = wait_gone(self.family.values(), GONE_S)
        return [*(f"process {each.pid} is left: {' '.join(command_line(each))[:60]}" for each in stay),
                *(f"folder {folder} is left" for folder in self.scratches if folder.exists())]

    def end(self) -> None:
        """End everything by force, whatever state it is in."""
        self.look(now=True)
        self.living.command.kill()  # First: it would start another controller.
        self._child.wait()
        end_family(self.family.values())
        for folder in self.scratches:
            shutil.rmtree(folder, ignore_errors=True)

    def latest(self, event: str, field: str) -> int:
        """Return the highest number that a field of an event has had; 0 before the first."""
        return max((each[field] for each in self.events() if each["event"] == event), default=0)


def end_family(family: Iterable[ProcessId]) -> None:
    """End processes and all below them by force, those above before those below, which they could start again."""
    left = [each for each in family if each.alive()]
    while left:
        below = [child for each in left for child in descendants(each)]
        leave(left, 0.0)
        left = [each for each in below if each.alive()]
