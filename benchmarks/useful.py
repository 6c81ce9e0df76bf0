"""What of a run's time was useful, from its journal. Pure.

A step is useful if it is on the lineage that survives and takes the usual time of the same run; the rest is steps done
again, time from a kill to the next step, and what is left: saves, and steps that were slower than usual.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import mean, median
from typing import Any

from launcher.core.drill import first_step_after
from launcher.core.ledger import surviving

Event = dict[str, Any]


def next_useful(events: Sequence[Event], attempt: int) -> Event | None:
    """Return the first step of later attempts beyond all that were done until this one."""
    known = max((event["step"] for event in events if event["event"] == "step"
                 and (event["attempt"] <= attempt or event.get("recovered"))), default=0)
    return next((event for event in _own(events) if event["attempt"] > attempt and event["step"] > known), None)


def attempt_at(events: Sequence[Event], moment: float) -> int:
    """Return the newest attempt of a moment."""
    return max(event["attempt"] for event in events if event["event"] == "attempt_started" and event["time"] <= moment)


def bound(stall_s: float, every_s: float, between_kills_s: float, recovery_s: float) -> float:
    """Return the goodput that can be had at most: 1 - stall/tau - tau/2M - R/M."""
    return 1 - stall_s / every_s - every_s / (2 * between_kills_s) - recovery_s / between_kills_s


@dataclass(frozen=True, slots=True)
class Stretch:
    """What came of a stretch of a run, in seconds."""

    wall: float
    useful: float
    redone: float
    """Steps done again, at the usual time of one."""
    down: float
    """From kills to the next step's beginning."""
    steps: int
    """Those that are useful."""
    usual: float
    """Median time of a step that does not follow a save."""
    stall: float
    """What a step that follows a save takes longer, on average."""
    every: float
    """Between saves, on average."""
    recoveries: tuple[float, ...]
    before: float
    """Until the first kill."""
    useful_before: float
    """Of that: what is missing, saves and a noisy machine cost alone."""


def stretch(events: Sequence[Event], kills: Sequence[float], first: int, end: float) -> Stretch:
    """Judge a run from when its step `first` was done until `end`, killed at these times, all of them in between."""
    told = [event for event in events if event["time"] <= end]
    begin = next(event["time"] for event in _own(told) if event["step"] == first)
    usual, stall, every = pace(told, first)
    useful = sum(event["step"] > first for event in surviving(told))
    done = sum(event["step"] > first for event in told if event["event"] == "step")
    back = recoveries(told, kills, usual)
    before = sum(begin < event["time"] <= kills[0] for event in _own(told))
    return Stretch(wall=end - begin, useful=useful * usual, redone=(done - useful) * usual, down=sum(back),
                   steps=useful, usual=usual, stall=stall, every=every, recoveries=back, before=kills[0] - begin,
                   useful_before=before * usual)


def pace(events: Sequence[Event], first: int) -> tuple[float, float, float]:
    """Return the usual time of a step, what one after a save takes longer, and the time between saves."""
    saves = {(event["attempt"], event["step"]): event["time"] for event in events
             if event["event"] == "checkpoint_committed" and event["step"] > first}
    gaps = [(after["time"] - before["time"], (before["attempt"], before["step"]) in saves)
            for before, after in _in_a_row(events) if before["step"] >= first]
    usual = median(gap for gap, saved in gaps if not saved)
    stall = max(0.0, mean(gap for gap, saved in gaps if saved) - usual)
    return usual, stall, mean(_between(saves))


def recoveries(events: Sequence[Event], kills: Sequence[float], usual: float) -> tuple[float, ...]:
    """Return the time from each kill to the beginning of the next attempt's first step, or to the next kill."""
    found: list[float] = []
    for kill, following in zip(kills, [*kills[1:], float("inf")], strict=True):
        again = first_step_after(events, attempt_at(events, kill))
        assert again is not None, "the stretch ends after it has recovered"
        found.append(min(again["time"] - usual, following) - kill)
    return tuple(found)


def _own(events: Iterable[Event]) -> Iterator[Event]:
    """Yield the steps that attempts told of themselves; what a checkpoint proves later stands out of order."""
    return (event for event in events if event["event"] == "step" and not event.get("recovered"))


def _in_a_row(events: Iterable[Event]) -> Iterator[tuple[Event, Event]]:
    """Yield steps and their next of the same attempt."""
    steps = list(_own(events))
    return ((before, after) for before, after in pairwise(steps)
            if before["attempt"] == after["attempt"])


def _between(saves: dict[tuple[int, int], float]) -> Iterator[float]:
    """Yield the time from each save of an attempt to its next."""
    told = sorted(saves.items())
    return (later - sooner for ((one, _), sooner), ((other, _), later) in pairwise(told)
            if one == other)
