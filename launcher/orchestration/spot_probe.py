"""Watching, from a thread of a node's agent, whether the cloud will take the node's machine away.

Decides when the service is asked again and when its silence is worth a word. It never raises, never holds anybody up,
and says nothing where nobody switched it on; what follows from what it finds is the controller's.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from launcher.core.errors import UserError
from launcher.core.spot_notice import NotTold, Said, SpotWish, Told, fold, spot_of

LONGEST_S = 15.0
"""Between questions to a service that fails: a notice may be no longer than 30 seconds."""


class MetadataService(Protocol):
    """The service of one cloud."""

    every_s: float
    """Between questions."""
    settles_s: float
    """How long it may be silent before that is worth a word."""

    def ask(self, now: float) -> Said:
        """Return what it says now. Raises NotTold."""
        ...


class Probe(Protocol):
    """What is known of this machine."""

    @property
    def told(self) -> Told:
        """Return it. Any thread may ask."""
        ...


class SpotProbe:
    """What one machine's metadata service says. Read `told` at any time."""

    def __init__(self, service: MetadataService, cloud: str, *, clock: Callable[[], float] = time.time) -> None:
        self.told = Told()
        """Replaced, never changed: any thread may read it."""
        self._service, self._cloud, self._clock = service, cloud, clock
        self._before = Said()
        self._failures = 0
        self._fails_since: float | None = None
        self._complained = False

    def start(self) -> "SpotProbe":
        """Begin to watch, for as long as this process lives."""
        threading.Thread(target=self._watch, name="spot", daemon=True).start()
        return self

    def look(self) -> float:
        """Ask once, and return after how many seconds to ask again."""
        try:
            said = self._service.ask(self._clock())
        except (NotTold, ValueError) as error:
            return self._failed(str(error))
        self._failures, self._fails_since = 0, None
        self.told, self._before = fold(self.told, self._before, said), said
        return self._service.every_s

    def _failed(self, reason: str) -> float:
        """Note, once, that the service cannot be asked; what was known stands."""
        now = self._clock()
        self._failures += 1
        self._fails_since = now if self._fails_since is None else self._fails_since
        if not self._complained and now - self._fails_since >= self._service.settles_s:
            self._complained = True
            self.told = self.told.noting(f"the metadata service of {self._cloud} does not tell whether this machine "
                                         f"goes: {reason}. It is asked again and again, and this is said once")
        return min(LONGEST_S, self._service.every_s * 2 ** min(self._failures - 1, 10))

    def _watch(self) -> None:
        while True:
            time.sleep(self.look())


@dataclass(frozen=True, slots=True)
class Unasked:
    """In place of a probe where the environment names no cloud that there is."""

    told: Told


def begin(wish: SpotWish | None, environment: Mapping[str, str]) -> Probe | None:
    """Watch this machine if the recipe or its environment says how; a mistake in the latter becomes a note."""
    try:
        cloud = spot_of(wish, environment)
    except UserError as error:
        return Unasked(Told(notes=(f"not asked: {error}",)))
    if cloud == "none":
        return None
    # Only here: most machines never ask, and should not import what asking takes.
    from launcher.orchestration.metadata_services import service_of

    return SpotProbe(service_of(cloud, environment), cloud).start()
