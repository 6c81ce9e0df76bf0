"""Nodes that will be taken away, whether Ray drains them or their cloud says so: leave them in time. Pure.

Decides between a run that goes on without them and one that saves and gives everything back. Which nodes the next
attempt takes is the placement's.
"""

from launcher.core.attempt_state import Drain, Draining, Observation, Patience, Progress, Record, Transition
from launcher.core.events import Decision, StopRequested


def until(request: StopRequested, now: float, patience: Patience) -> float:
    """Return how long to wait for workers to save: what is left of the deadline when they have been ended too."""
    return now + patience.drain_s if request.deadline is None else request.deadline - patience.leave_s


def make_way(progress: Progress, seen: Observation, patience: Patience) -> Transition:
    """Stop on nodes that will be taken away, save, and go on without them; where no others are left, yield."""
    deadline = min((when for _, when in seen.leaving if when is not None), default=None)
    names = frozenset(name for name, _ in seen.leaving)
    request = StopRequested(reason="spot_notice" if names & seen.noticed else "drain", deadline=deadline)
    end = until(request, seen.now, patience)
    if seen.nothing_left:
        return Transition(Draining(progress, end), (Record(request), Drain(request)))
    why = " (spot notice)" if names & seen.noticed else ""
    reason = f"{', '.join(sorted(names))} will be taken away{why}; the run saves and goes on without"
    return Transition(Draining(progress, end, "again", names),
                      (Record(Decision(decision="leave nodes", reason=reason)), Drain(request)))
