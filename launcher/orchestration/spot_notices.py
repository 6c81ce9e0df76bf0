"""What the clouds have said of a run's machines: which of them go, and what of it the journal lacks.

Decides how long a notice counts: its node is not taken for another attempt, although its agent, which could tell more,
is gone by then. Who asks the clouds is `spot_probe`.
"""

import time
from collections.abc import Callable

from launcher.core.events import SpotNoticed
from launcher.core.spot_notice import Leaving, Told

STAYS_S = 120.0
"""A node that is there so long after its deadline counts as one that stays: the notice has come to nothing."""


class SpotNotices:
    """The machines of one run, by any key that stays theirs."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._leaving: dict[str, Leaving] = {}
        self._said: set[tuple[str, str]] = set()
        self._unsaid: list[SpotNoticed] = []

    def hear(self, key: str, name: str, told: Told | None) -> None:
        """Take what a machine's cloud said by now; `name` is for the journal. None: nobody asks there."""
        if told is None:
            return
        for note in told.notes:
            self._tell(key, name, note, None)
        if told.leaving is not None:
            self._leaving[key] = told.leaving
            self._tell(key, name, told.leaving.what, told.leaving.deadline)
        elif told.looked:
            self._leaving.pop(key, None)

    def leaving(self) -> dict[str, float]:
        """Return the machines that go, with the deadline in UTC seconds."""
        now = self._clock()
        self._leaving = {key: each for key, each in self._leaving.items() if now < each.deadline + STAYS_S}
        return {key: each.deadline for key, each in self._leaving.items()}

    def unsaid(self) -> list[SpotNoticed]:
        """Return what was heard since this was asked before."""
        unsaid, self._unsaid = self._unsaid, []
        return unsaid

    def _tell(self, key: str, name: str, notice: str, deadline: float | None) -> None:
        if (key, notice) not in self._said:
            self._said.add((key, notice))
            self._unsaid.append(SpotNoticed(node=name, notice=notice, deadline=deadline))
