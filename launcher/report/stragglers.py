"""Ranks that are slower than the others by themselves, as the journal tells: how each is now, and who was named when.

Decides wording, and that a new attempt's workers begin without a name. Who is named is `core.straggler`.
"""

from dataclasses import dataclass
from typing import Any

SHOWN = 3
"""Ranks in a line."""


@dataclass
class Named:
    """A rank that was slow for a while."""

    attempt: int
    rank: int
    node: str
    host: str
    since: int
    """Step at which it was named."""
    score: float
    """The largest so far."""
    until: int | None = None
    """Step at which it was cleared; None: it was slow to the attempt's end, or is."""


class Stragglers:
    """Takes a journal's events one by one."""

    def __init__(self) -> None:
        self.named: list[Named] = []
        """All of the run, in order."""
        self.scores: dict[int, float] = {}
        """Of the present attempt's ranks, as last told."""
        self._now: dict[int, Named] = {}

    def add(self, event: dict[str, Any]) -> None:
        """Take an event."""
        match event["event"]:
            case "attempt_started" | "run_ended":
                self.scores, self._now = {}, {}
            case "rank_pace":
                self.scores = {rank: score for rank, score in enumerate(event["scores"]) if score is not None}
                for rank, named in self._now.items():
                    named.score = max(named.score, self.scores.get(rank, 0.0))
            case "straggler" if event["slow"]:
                named = Named(event["attempt"], event["rank"], event["node"], event["host"], event["step"],
                              event["score"])
                self.named.append(named)
                self._now[event["rank"]] = named
            case "straggler" if named := self._now.pop(event["rank"], None):
                named.until = event["step"]
            case _:
                pass

    @property
    def now(self) -> list[Named]:
        """Return who is named at present, the slowest first."""
        return sorted(self._now.values(), key=lambda named: -self.score(named))

    @property
    def worst(self) -> float | None:
        """Return the largest score of all ranks; None before any is known."""
        return max(self.scores.values(), default=None)

    def score(self, named: Named) -> float:
        """Return how slow a rank is at present."""
        return self.scores.get(named.rank, named.score)

    def line(self) -> str:
        """Return who is slow at present; nothing if nobody is."""
        told = [f"rank {named.rank} on {place(named)} takes {self.score(named):.2f} times as long, since step "
                f"{named.since}" for named in self.now]
        more = f"; {len(told) - SHOWN} more" if len(told) > SHOWN else ""
        return "; ".join(told[:SHOWN]) + more

    def fields(self) -> list[dict[str, Any]]:
        """Return the same for machines."""
        return [{"rank": named.rank, "node": named.node, "host": named.host, "since": named.since,
                 "score": self.score(named)} for named in self.now]


def straggler_line(event: dict[str, Any]) -> str:
    """Return that a rank is slow, or is so no more."""
    who = f"rank {event['rank']} on {event['node']}"
    if not event["slow"]:
        return f"step {event['step']}: {who} is as fast as the others again"
    return f"step {event['step']}: {who} takes {event['score']:.2f} times as long as the others for the same work"


def place(named: Named) -> str:
    """Return where a rank is: the node's name, and its address where that says more."""
    return named.node if named.host in (named.node, "") else f"{named.node} ({named.host})"
