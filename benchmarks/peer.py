"""A peer at work, seen from outside: its ranks and its steps by what they append, its processes by /proc.

The counterpart of `orchestration.drilled_command` for programs that keep no journal. What is measured of it is the
benchmark's.
"""

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random

from benchmarks.told import Event, as_events
from launcher.orchestration.drilled_command import end_family
from launcher.storage.process_id import ProcessId, descendants, process_id

POLL_S = 0.03
LIMIT_S = 180.0
"""For a step to come, at the start or after a kill: several times what any peer was seen to take."""


class DoesNotGoOn(Exception):
    """A peer ended, or what must come did not."""


class Peer:
    """One command of a peer."""

    def __init__(self, argv: Sequence[str], environment: Mapping[str, str], told: Path, log: Path) -> None:
        with log.open("ab") as output:
            self._child = subprocess.Popen(list(argv), env=dict(environment), stdout=output, stderr=output,
                                           stdin=subprocess.DEVNULL, start_new_session=True)
        self._command = process_id(self._child.pid)
        self._told, self._log = told, log
        self._family: dict[int, ProcessId] = {}
        self._looked = 0.0

    def events(self) -> list[Event]:
        """Return attempts and steps so far."""
        return as_events(self._told.read_text().splitlines(keepends=True)) if self._told.exists() else []

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait for a condition. Raises DoesNotGoOn if it does not come."""
        end = time.monotonic() + LIMIT_S
        while not condition():
            if self._child.poll() is not None or time.monotonic() > end:
                raise DoesNotGoOn(f"{what} did not come; {self._log.read_text(errors='replace')[-3000:]}")
            self._look()
            time.sleep(POLL_S)

    def hurt(self, chance: Random) -> None:
        """Kill a rank of the newest attempt."""
        self._look(now=True)
        ranks = [event["workers"] for event in self.events() if event["event"] == "attempt_started"][-1]
        victim = process_id(chance.choice(sorted(ranks.values())))
        assert victim.kill(), "there was nobody to kill"

    def end(self) -> None:
        """End everything by force, those above before those below, which they could start again."""
        self._look(now=True)
        self._command.kill()
        self._child.wait()
        end_family(self._family.values())

    def _look(self, *, now: bool = False) -> None:
        """Remember who belongs to it: a child whose parent dies is nobody's."""
        if now or time.monotonic() - self._looked > 0.5:
            self._family |= {each.pid: each for each in descendants(self._command)}
            self._looked = time.monotonic()
