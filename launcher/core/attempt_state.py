"""The states of an attempt, what the controller sees, and what it can be told to do: values only.

`core.lifecycle` judges them, `orchestration.controller` observes and acts.
"""

from dataclasses import dataclass, field
from typing import Any

from launcher.core import events
from launcher.core.failure import WorkerFailure


@dataclass(frozen=True, slots=True)
class Patience:
    """How long each kind of waiting may last."""

    settle_s: float = 1.0
    """After a first failure, for the other ranks to say what they saw: the first to speak is often an echo."""
    drain_s: float = 600.0
    """For a stop without a deadline: one step of a very large model, with room."""
    grace_s: float = 3.0
    """Between SIGTERM and SIGKILL."""
    hurry_s: float = 1.0
    """The same after a second request to stop."""
    startup_s: float = 30 * 60.0
    """To the first step: a large model read from a cold shared file system takes up to 20 minutes."""


@dataclass(frozen=True, slots=True)
class WorkerSeen:
    """What is new of one worker."""

    rank: int
    node: str
    exit_code: int | None
    events: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Observation:
    """What the controller sees at one moment."""

    now: float
    workers: tuple[WorkerSeen, ...] = ()
    lost_nodes: tuple[str, ...] = ()
    """Nodes whose agent does not answer any more."""
    stop: events.StopRequested | None = None
    at_once: bool = False
    """The person asked a second time."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What is known so far of the attempt's workers."""

    step: int = 0
    finished: frozenset[int] = frozenset()
    """Ranks that reported the recipe's end."""
    stopped: frozenset[int] = frozenset()
    """Ranks that reported that they stopped before it."""
    gone: frozenset[int] = frozenset()
    failures: tuple[WorkerFailure, ...] = ()
    rendezvous: tuple[str, int] | None = None
    begun: bool = False
    """Engines are built: from here on workers look at their mailboxes once a step."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Nothing is ordered yet."""

    progress: Progress = field(default_factory=Progress)


@dataclass(frozen=True, slots=True)
class Starting:
    """Workers have their orders and have not begun the first stage."""

    progress: Progress
    since: float
    met: bool = False
    """The rendezvous was passed on."""


@dataclass(frozen=True, slots=True)
class Running:
    """Training."""

    progress: Progress


@dataclass(frozen=True, slots=True)
class Draining:
    """Workers were told to stop after their step."""

    progress: Progress
    until: float


@dataclass(frozen=True, slots=True)
class Failing:
    """Something failed; the others are heard before all are ended."""

    progress: Progress
    since: float


@dataclass(frozen=True, slots=True)
class Finished:
    """The recipe's end was reached."""

    progress: Progress


@dataclass(frozen=True, slots=True)
class Yielded:
    """Stopped on request."""

    progress: Progress


@dataclass(frozen=True, slots=True)
class Failed:
    """Ended by failure."""

    progress: Progress


State = Waiting | Starting | Running | Draining | Failing | Finished | Yielded | Failed
END_STATES = (Finished, Yielded, Failed)


@dataclass(frozen=True, slots=True)
class GiveOrders:
    """Deliver every worker's orders and journal that the attempt started."""


@dataclass(frozen=True, slots=True)
class PassRendezvous:
    """Tell every rank but 0 where rank 0 listens."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Record:
    """Append to the journal."""

    event: events.Event | dict[str, Any]


@dataclass(frozen=True, slots=True)
class Drain:
    """Tell every worker to stop after its step."""

    request: events.StopRequested


@dataclass(frozen=True, slots=True)
class EndWorkers:
    """End every worker that is left by pid, and wait until all are gone."""

    grace_s: float


Action = GiveOrders | PassRendezvous | Record | Drain | EndWorkers


@dataclass(frozen=True, slots=True)
class Transition:
    """The next state and what to do, in order."""

    state: State
    actions: tuple[Action, ...] = ()
