"""Bringing attempts onto machines: one agent per node with its workers started. Here: this machine, without Ray.

Decides nothing about a run: which nodes to leave out and when to begin is told. Over Ray it is
`embedded_placement` and `cluster_placement`. What waits there hears of a stop by itself, because the controller looks
at nothing meanwhile.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from launcher.core.attempt import AttemptPlan
from launcher.core.errors import PlatformError
from launcher.core.events import SpotNoticed
from launcher.core.peer_copies import Holding, Mark
from launcher.core.spot_notice import Told
from launcher.orchestration.node_agent import Agent, NodeAgent
from launcher.orchestration.requests import Go, Requests
from launcher.orchestration.spot_notices import SpotNotices
from launcher.orchestration.spot_probe import Probe, begin
from launcher.orchestration.startup import Stopwatch
from launcher.storage.orphan_grace import ORPHAN_GRACE_S
from launcher.storage.process_id import ProcessId, leave


class PlacementLost(PlatformError):
    """What attempts are placed with is gone as a whole: another controller has to bring it up anew."""


class PlacementStopped(PlacementLost):
    """A stop was asked for before the workers were there: there will be no attempt, and nothing to do about that."""


def heed(requests: Requests) -> None:
    """Raise PlacementStopped if a stop was asked for."""
    if requests.stop is not None:
        raise PlacementStopped("a stop was asked for before the workers were there")


def bring_up(requests: Requests, start: Callable[[], None]) -> None:
    """Start Ray or join it. It takes SIGTERM for itself meanwhile, and would leave without a word to anybody."""
    try:
        start()
    except SystemExit:
        requests.ask_stop("signal")
    requests.take_signals()
    heed(requests)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the next attempt is."""

    go: Go
    attempt: int
    without: frozenset[str]
    """Nodes to leave out, by name."""
    old: Mapping[str, Sequence[ProcessId]]
    """Workers of the attempt before, by node: they are gone before new ones start."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is seen of the machines besides the workers."""

    could_grow: bool = False
    """An attempt that began now would have more workers."""
    leaving: tuple[tuple[str, float | None], ...] = ()
    """Nodes in use that will be taken away, with the deadline in UTC seconds."""
    noticed: frozenset[str] = frozenset()
    """Those of them of which their cloud says so."""
    nothing_left: bool = False
    """And no other node is there."""


class Placement(Protocol):
    """Where attempts are placed."""

    def place(self, wanted: Wanted, stopwatch: Stopwatch) -> tuple[Sequence[Agent], AttemptPlan]:
        """Start an attempt's workers; return one agent per node and the attempt as it is placed.

        Raises PlatformError if it cannot be now, Unplannable if the machines do not fit, PlacementLost if it never can,
        PlacementStopped soon after a stop was asked for.
        """
        ...

    def look(self, without: frozenset[str]) -> Surroundings:
        """Return what is seen of the machines; cheap, but not for every moment."""
        ...

    def noticed(self) -> Sequence[SpotNoticed]:
        """Return what clouds said of the machines since this was asked before, for the journal."""
        ...

    def saved(self, mark: Mark) -> None:
        """Learn which checkpoint is the newest that is committed, for nodes that keep copies of it. Does not wait."""
        ...

    def holdings(self, step: int) -> Sequence[Holding]:
        """Return which nodes keep what of a step's checkpoint for others."""
        ...


class HerePlacement:
    """Plain worker processes on this machine; the first attempt's were started as standbys."""

    def __init__(self, standbys: NodeAgent) -> None:
        self._agent = standbys
        self._placed: AttemptPlan | None = None
        self._probe: Probe | None = None
        self._notices = SpotNotices()

    def place(self, wanted: Wanted, stopwatch: Stopwatch) -> tuple[Sequence[Agent], AttemptPlan]:
        """Start an attempt's workers."""
        placed = settled(wanted)
        old = [process for processes in wanted.old.values() for process in processes]
        with stopwatch.phase("agents"):
            if self._placed is not None:
                self._agent.start(placed.world_size, placed.threads, placed.device, old)
            else:
                leave(old, ORPHAN_GRACE_S)
                self._probe = begin(wanted.go.wish.spot, os.environ)
        self._placed = placed
        return [self._agent], placed

    def look(self, without: frozenset[str]) -> Surroundings:
        """Return whether this machine will be taken away; nothing else ever changes here."""
        return one_machine(self._notices, self._placed, self._probe.told if self._probe else None)

    def noticed(self) -> Sequence[SpotNoticed]:
        """Return what this machine's cloud said of it since this was asked before."""
        return self._notices.unsaid()

    def saved(self, mark: Mark) -> None:
        """Do nothing: there is no other node."""

    def holdings(self, step: int) -> Sequence[Holding]:
        """Return nothing: there is no other node."""
        return ()


def one_machine(notices: SpotNotices, placed: AttemptPlan | None, told: Told | None) -> Surroundings:
    """Return what is seen where this machine is all there is, and its cloud has told so much."""
    name = placed.cluster.nodes[0].name if placed else ""
    notices.hear(name, name, told)
    leaving = tuple(notices.leaving().items())
    return Surroundings(leaving=leaving, noticed=frozenset(name for name, _ in leaving), nothing_left=bool(leaving))


def settled(wanted: Wanted) -> AttemptPlan:
    """Return the attempt on this machine, which was placed before the word to go."""
    assert wanted.go.placed is not None, "on this machine the attempt is placed before the word to go"
    return wanted.go.placed.model_copy(update={"attempt": wanted.attempt})
