"""Which ranks are slower than the others by themselves. Pure.

Decides when a rank is named a straggler, and when it is one no more. What is compared is the time that each rank takes
alone for the same work, not the time of a step: whoever waits in a collective is as late as the one that is waited for.
How that time is measured, and what it cannot see, is `runtime.alone`. Nothing about training follows from this.

A window is judged as a whole, so that a pause of one step is no straggler, and a rank is named only after some windows
in a row. The lower median is the measure: of two ranks it is the faster one, and where half of the ranks stand on a
slow machine it is the other half.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median_low

import numpy as np

WINDOW_STEPS = 20
WINDOW_S = 5.0
"""A window has at least so many steps and seconds: on a busy machine a second says nothing of a rank."""
IN_A_ROW = 3
"""Windows after which a rank is named, and after which it is cleared."""
DEVIATIONS = 4.0
"""Median absolute deviations over the median that are too many."""
MARGIN = 0.15
"""Of the median. What is less is not worth a look, however much alike the other ranks are; healthy GPUs of one kind
differ by a few percent."""


@dataclass(frozen=True, slots=True)
class Pace:
    """A window of steps, by rank."""

    median: float
    """Seconds a step that a rank takes alone."""
    scores: tuple[float | None, ...]
    """Times that of the median; None where a rank measured nothing."""
    slow: frozenset[int]


@dataclass(frozen=True, slots=True)
class Change:
    """A rank that is named now, or cleared."""

    rank: int
    slow: bool
    score: float


@dataclass(frozen=True, slots=True)
class Judged:
    """What a window says."""

    steps: int
    pace: Pace
    changes: tuple[Change, ...]


def pace(times: Sequence[float | None]) -> Pace | None:
    """Return how each rank stands to the others by its own time; None where there is nothing to compare."""
    known = [time for time in times if time is not None]
    if len(known) < 2 or (median := median_low(known)) <= 0:
        return None
    deviation = median_low([abs(time - median) for time in known])
    limit = median + max(DEVIATIONS * deviation, MARGIN * median)
    slow = frozenset(rank for rank, time in enumerate(times) if time is not None and time > limit)
    return Pace(median, tuple(None if time is None else time / median for time in times), slow)


@dataclass
class Windows:
    """Takes the steps of one attempt, one by one."""

    ranks: int
    named: set[int] = field(default_factory=set[int])
    """Stragglers at present."""

    def __post_init__(self) -> None:
        self._against = [0] * self.ranks
        """Windows in a row that speak against what a rank counts as."""
        self._begin()

    def add(self, times: Sequence[float], seconds: float) -> Judged | None:
        """Take each rank's own time in a step, NaN where it measured nothing, and the time of the whole step; return
        what the window says that ends with it."""
        told = np.asarray(times)
        there = np.isfinite(told)
        if not there.any():
            return None  # The step was left out.
        self._sums += np.where(there, told, 0.0)
        self._counts += there
        self._steps, self._seconds = self._steps + 1, self._seconds + seconds
        if self._steps < WINDOW_STEPS or self._seconds < WINDOW_S:
            return None
        found = pace([total / count if count else None for total, count
                      in zip(self._sums.tolist(), self._counts.tolist(), strict=True)])
        steps = self._steps
        self._begin()
        return None if found is None else Judged(steps, found, tuple(self._changes(found)))

    def _begin(self) -> None:
        self._sums, self._counts = np.zeros(self.ranks), np.zeros(self.ranks, np.int64)
        self._steps, self._seconds = 0, 0.0

    def _changes(self, found: Pace) -> list[Change]:
        changes = list[Change]()
        for rank, score in enumerate(found.scores):
            slow = rank in found.slow
            if score is None or slow == (rank in self.named):
                self._against[rank] = 0
                continue
            self._against[rank] += 1
            if self._against[rank] == IN_A_ROW:
                self._against[rank] = 0
                self.named ^= {rank}
                changes.append(Change(rank, slow, score))
        return changes
