"""What rank 0 tells of how fast each rank is by itself: each window's scores, and who is named a straggler or cleared.

Decides nothing: who is too slow is `core.straggler`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from launcher.core.events import RankPace, Straggler
from launcher.core.straggler import Windows
from launcher.runtime.reporter import Reporter


@dataclass(frozen=True, slots=True)
class Place:
    """Where a rank is."""

    node: str
    host: str


class Pacing:
    """Takes what the ranks say in each step's exchange."""

    def __init__(self, places: Sequence[Place], reporter: Reporter) -> None:
        self._places, self._reporter, self._windows = places, reporter, Windows(len(places))

    def take(self, step: int, times: Sequence[float], seconds: float) -> None:
        """Take every rank's own time in a step, and the step's."""
        if len(self._places) < 2 or (judged := self._windows.add(times, seconds)) is None:
            return
        found = judged.pace
        scores = tuple(None if score is None else round(score, 3) for score in found.scores)
        self._reporter.event(RankPace(step=step, steps=judged.steps, seconds=found.median, scores=scores))
        for change in judged.changes:
            place = self._places[change.rank]
            self._reporter.event(Straggler(rank=change.rank, node=place.node, host=place.host, step=step,
                                           slow=change.slow, score=round(change.score, 3)))
