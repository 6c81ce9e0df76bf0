"""The life of an attempt as pure judgement: advance(state, observation) -> what happens next, and what to do.

Decides when workers get their orders, when the attempt counts as running, what a stop or a failure leads to, and how
the run ends. Carrying the actions out is `orchestration.controller`; what a failure is called is
`core.failure_report`. For now any failure ends the run; budgets and restarts will be judged in `_after_failure`.
"""

from dataclasses import replace
from typing import Any

from launcher.core import events
from launcher.core.attempt_state import (
    Action,
    Drain,
    Draining,
    EndWorkers,
    Failed,
    Failing,
    Finished,
    GiveOrders,
    Observation,
    PassRendezvous,
    Patience,
    Progress,
    Record,
    Running,
    Starting,
    State,
    Transition,
    Waiting,
    WorkerSeen,
    Yielded,
)
from launcher.core.errors import FAILED, FINISHED, INFRASTRUCTURE, REFUSED, YIELDED
from launcher.core.failure import FailureKind, WorkerFailure
from launcher.core.failure_report import causes, died

JOURNALLED = frozenset({"stage_started", "step", "evaluation", "checkpoint_committed", "checkpoint_failed",
                        "checkpoint_rejected", "exported", "memory"})
"""Workers' events that go into the journal as they are; the others are for the controller."""
END_STATES = (Finished, Yielded, Failed)
PATIENCE = Patience()


def advance(state: State, seen: Observation, patience: Patience = PATIENCE) -> Transition:
    """Return what follows from a state and what was seen. End states stay as they are."""
    if isinstance(state, END_STATES):
        return Transition(state)
    state = replace(state, progress=_learn(state.progress, seen))
    records = tuple(Record({**event, "rank": worker.rank} if event["event"] == "memory" else event)
                    for worker in seen.workers for event in worker.events if event["event"] in JOURNALLED)
    following = _follow(state, seen, patience)
    return Transition(following.state, (*records, *following.actions))


def _follow(state: State, seen: Observation, patience: Patience) -> Transition:
    """Judge what ends an attempt first, then what moves it on."""
    progress = state.progress
    all_gone = bool(seen.workers) and all(worker.exit_code is not None for worker in seen.workers)
    if isinstance(state, Failing):
        settled = all_gone or seen.at_once or seen.now - state.since >= patience.settle_s
        return _after_failure(progress, patience) if settled else Transition(state)
    if progress.failures:
        return Transition(Failing(progress, seen.now))
    if seen.at_once:
        told = isinstance(state, Draining)
        return _leave(Yielded(progress), None if told else seen.stop, patience.hurry_s)
    if all_gone:
        finished = len(progress.finished) == len(seen.workers)
        return _leave(Finished(progress) if finished else Yielded(progress), None, 0.0)
    return _move_on(state, seen, patience)


def _move_on(state: State, seen: Observation, patience: Patience) -> Transition:
    """Judge a moment in which nothing went wrong and somebody is still at work."""
    match state:
        case Waiting(progress) if seen.stop is None and seen.workers:
            return Transition(Starting(progress, seen.now), (GiveOrders(),))
        case Waiting(progress) | Starting(progress) if seen.stop is not None:
            # Nothing is trained yet, and a worker that builds its engine would not look at its mailbox for minutes.
            return _leave(Yielded(progress), seen.stop, patience.grace_s)
        case Starting():
            return _starting(state, seen.now, patience)
        case Running(progress) if seen.stop is not None:
            until = seen.stop.deadline or seen.now + patience.drain_s
            return Transition(Draining(progress, until), (Record(seen.stop), Drain(seen.stop)))
        case Draining(progress, until) if seen.now > until:
            return _leave(Yielded(progress), None, patience.grace_s)
        case _:
            return Transition(state)


def _starting(state: Starting, now: float, patience: Patience) -> Transition:
    actions: tuple[Action, ...] = ()
    if state.progress.rendezvous is not None and not state.met:
        actions, state = (PassRendezvous(*state.progress.rendezvous),), replace(state, met=True)
    if state.progress.begun:
        return Transition(Running(state.progress), actions)
    if now - state.since > patience.startup_s:
        late = WorkerFailure(rank=0, node="", kind=FailureKind.STARTUP,
                             message=f"no worker began its first stage within {patience.startup_s / 60:.0f} min")
        return Transition(Failing(replace(state.progress, failures=(late,)), now), actions)
    return Transition(state, actions)


def _after_failure(progress: Progress, patience: Patience) -> Transition:
    """Journal every failure and end the run: this version tries nothing a second time."""
    failures = [Record(events.Failed(**failure.model_dump())) for failure in progress.failures]
    cause = causes(progress.failures)[0]
    decision = events.Decision(decision="end the run", reason=f"{cause.kind}: {cause.message}")
    outcome, exit_code = _OUTCOMES.get(cause.kind, ("failed", FAILED))
    return Transition(Failed(progress), (*failures, EndWorkers(patience.grace_s), Record(decision),
                                         *_ended(progress.step, outcome, exit_code)))


_OUTCOMES: dict[FailureKind, tuple[events.Outcome, int]] = {
    FailureKind.PREEMPTION: ("yielded", YIELDED),
    FailureKind.BAD_INPUT: ("refused", REFUSED),
    FailureKind.NODE_LOSS: ("failed", INFRASTRUCTURE),
    FailureKind.STORAGE: ("failed", INFRASTRUCTURE),
}


def _leave(state: Finished | Yielded, request: events.StopRequested | None, grace_s: float) -> Transition:
    requested = (Record(request),) if request else ()
    outcome, exit_code = ("finished", FINISHED) if isinstance(state, Finished) else ("yielded", YIELDED)
    return Transition(state, (*requested, EndWorkers(grace_s), *_ended(state.progress.step, outcome, exit_code)))


def _ended(step: int, outcome: events.Outcome, exit_code: int) -> tuple[Record, Record]:
    return (Record(events.AttemptEnded(outcome=outcome, step=step)),
            Record(events.RunEnded(outcome=outcome, exit_code=exit_code)))


def _learn(progress: Progress, seen: Observation) -> Progress:
    """Return the progress with everything new in it."""
    for worker in seen.workers:
        for event in worker.events:
            progress = _learn_event(progress, worker, event)
    for worker in seen.workers:
        if worker.exit_code is not None and worker.rank not in progress.gone:
            progress = _learn_exit(progress, worker, worker.exit_code)
    known = {failure.node for failure in progress.failures if failure.kind == FailureKind.NODE_LOSS}
    lost = [worker for worker in seen.workers if worker.node in seen.lost_nodes and worker.node not in known]
    losses = tuple(WorkerFailure(rank=worker.rank, node=worker.node, kind=FailureKind.NODE_LOSS, step=progress.step,
                                 message="its node's agent is gone") for worker in lost)
    return replace(progress, failures=(*progress.failures, *losses))


def _learn_event(progress: Progress, worker: WorkerSeen, event: dict[str, Any]) -> Progress:
    match event["event"]:
        case "step":
            return replace(progress, step=max(progress.step, event["step"]))
        case "engine_ready" | "stage_started":
            return replace(progress, begun=True)
        case "rendezvous":
            return replace(progress, rendezvous=(event["host"], event["port"]))
        case "finished":
            return replace(progress, finished=progress.finished | {worker.rank})
        case "stopped":
            return replace(progress, stopped=progress.stopped | {worker.rank})
        case "failed":
            known = {name: value for name, value in event.items() if name in WorkerFailure.model_fields}
            failure = WorkerFailure.model_validate({**known, "rank": worker.rank, "node": worker.node})
            return replace(progress, failures=(*progress.failures, failure))
        case _:
            return progress


def _learn_exit(progress: Progress, worker: WorkerSeen, exit_code: int) -> Progress:
    progress = replace(progress, gone=progress.gone | {worker.rank})
    spoken = {failure.rank for failure in progress.failures} | progress.finished | progress.stopped
    if worker.rank in spoken or exit_code == YIELDED:
        return progress
    return replace(progress, failures=(*progress.failures, died(worker.rank, worker.node, exit_code, progress.step)))
