"""The controller of one attempt: observe, advance, act, journal.

Has no opinion: what follows from what is seen is `core.lifecycle`. It is the one writer of the journal.
"""

import time
from collections.abc import Callable
from typing import assert_never

from launcher.core.attempt import AttemptPlan, WorkerOrders
from launcher.core.attempt_state import (
    Action,
    Drain,
    EndWorkers,
    GiveOrders,
    Observation,
    PassRendezvous,
    Record,
    Running,
    State,
    Waiting,
)
from launcher.core.events import AttemptStarted, Event, RunEnded
from launcher.core.lifecycle import END_STATES, PATIENCE, advance
from launcher.core.recipe_running import CheckpointPolicy
from launcher.core.run_plan import RunPlan
from launcher.orchestration.gang import Gang
from launcher.orchestration.requests import Requests
from launcher.orchestration.startup import Stopwatch
from launcher.storage.journal import Journal

POLL_S = 0.05
"""Between looks while something is about to change: rank 0's peers wait for its address at each start."""
RUNNING_POLL_S = 0.2
"""Between looks at steady training, which looks must not slow: under Ray one costs a millisecond on each side."""
DURABLE = frozenset({"run_started", "attempt_started", "checkpoint_committed", "failure", "stop_requested",
                     "exported", "attempt_ended", "run_ended"})
"""Events that must survive a power failure; steps follow often enough without."""


class Controller:
    """Runs one attempt to its end."""

    def __init__(self, gang: Gang, journal: Journal, orders: "OrderBook", requests: Requests, stopwatch: Stopwatch, *,
                 clock: Callable[[], float] = time.time, pause: Callable[[float], None] = time.sleep) -> None:
        self._gang, self._journal, self._orders = gang, journal, orders
        self._requests, self._stopwatch = requests, stopwatch
        self._clock, self._pause = clock, pause
        self._ended: RunEnded | None = None

    def run(self) -> int:
        """Work until the attempt has ended and return the exit code."""
        state: State = Waiting()
        while not isinstance(state, END_STATES):
            seen = self._observe()
            transition = advance(state, seen, PATIENCE)
            # Before the actions: with a very short run they may end it, and nothing follows run_ended.
            if started := self._stopwatch.watch(seen.workers):
                self._record(started)
            for action in transition.actions:
                self._act(action)
            state = transition.state
            if not transition.actions:
                self._pause(RUNNING_POLL_S if isinstance(state, Running) else POLL_S)
        assert self._ended is not None, "every end state journals run_ended"
        return self._ended.exit_code

    def _observe(self) -> Observation:
        workers = self._gang.look()
        asked = self._requests
        return Observation(self._clock(), workers, self._gang.lost_nodes, asked.stop, asked.at_once)

    def _act(self, action: Action) -> None:
        match action:
            case GiveOrders():
                self._stopwatch.begin("rendezvous", self._clock())
                self._gang.deliver("orders", self._orders.for_all())
                self._record(self._orders.started(self._gang))
            case PassRendezvous(host, port):
                others = range(1, self._orders.attempt.world_size)
                self._gang.deliver("rendezvous", {rank: {"host": host, "port": port} for rank in others})
            case Record(event):
                self._record(event)
            case Drain(request):
                everyone = range(self._orders.attempt.world_size)
                self._gang.deliver("stop", {rank: request.model_dump(mode="json") for rank in everyone})
            case EndWorkers(grace_s):
                self._gang.end(grace_s)
            case _:
                assert_never(action)

    def _record(self, event: Event | dict[str, object]) -> None:
        if isinstance(event, RunEnded):
            self._ended = event
        name = event["event"] if isinstance(event, dict) else event.model_dump()["event"]
        self._journal.append(event, durable=name in DURABLE)


class OrderBook:
    """Every rank's orders for one attempt."""

    def __init__(self, run_dir: str, cache: str, plan: RunPlan, attempt: AttemptPlan,
                 checkpoint: CheckpointPolicy, between_failures: float) -> None:
        self._run_dir, self._cache, self._plan, self.attempt = run_dir, cache, plan, attempt
        self._checkpoint, self._between_failures = checkpoint, between_failures

    def for_all(self) -> dict[int, dict[str, object]]:
        """Return the orders by rank."""
        orders = WorkerOrders(run_dir=self._run_dir, cache=self._cache, plan=self._plan, attempt=self.attempt, rank=0,
                              checkpoint=self._checkpoint, between_failures=self._between_failures)
        content = orders.model_dump(mode="json")
        return {rank: {**content, "rank": rank} for rank in range(self.attempt.world_size)}

    def started(self, gang: Gang) -> AttemptStarted:
        """Return the event that says so."""
        return AttemptStarted(workers=gang.places(), world_size=self.attempt.world_size, resume=self.attempt.resume)
