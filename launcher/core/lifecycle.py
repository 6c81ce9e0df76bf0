"""The life of a run's attempts as pure judgement: advance(state, observation) -> what happens next, and what to do.

Decides when workers get their orders, when an attempt counts as running, when it is stopped, and when the next one
begins. Carrying the actions out is `orchestration.controller`; what is new in an observation is `core.progress`;
whether a failure is worth another attempt is `core.recovery`; nodes that go are `core.making_way`.
"""

from dataclasses import replace

from launcher.core import events
from launcher.core.attempt_state import (
    END_STATES,
    Action,
    Amend,
    BeginAttempt,
    Drain,
    Draining,
    DumpStacks,
    EndWorkers,
    Failed,
    Failing,
    Finished,
    GiveOrders,
    HalveMicroBatch,
    Observation,
    PassRendezvous,
    Patience,
    Progress,
    Record,
    Restarting,
    Running,
    Starting,
    State,
    Transition,
    Waiting,
    WarmStandbys,
    Yielded,
)
from launcher.core.errors import FAILED, FINISHED, YIELDED
from launcher.core.failure import FailureKind, WorkerFailure
from launcher.core.failure_report import causes, is_echo
from launcher.core.making_way import make_way, until
from launcher.core.progress import learn
from launcher.core.recovery import Again, decision, trouble_of
from launcher.core.remedies import answer
from launcher.core.rolling_back import skip_of
from launcher.core.verdicts import amendment_for

JOURNALLED = frozenset({"stage_started", "stage_ended", "step", "evaluation", "samples", "verdict",
                        "forgetting", "checkpoint_committed", "checkpoint_failed", "checkpoint_rejected",
                        "exported", "memory", "rank_pace", "straggler"})
"""Workers' events that go into the journal as they are; the others are for the controller."""
PATIENCE = Patience()


def advance(state: State, seen: Observation, patience: Patience = PATIENCE) -> Transition:
    """Return what follows from a state and what was seen. End states stay as they are."""
    if isinstance(state, END_STATES):
        return Transition(state)
    if isinstance(state, Restarting):
        return _restart(state, seen)
    state = replace(state, progress=learn(state.progress, seen))
    records = tuple(Record({**event, "rank": worker.rank} if event["event"] == "memory" else event)
                    for worker in seen.workers for event in worker.events if event["event"] in JOURNALLED)
    following = _follow(state, seen, patience)
    return Transition(following.state, (*records, *_left_out(seen), *_decided(seen), *following.actions))


def _left_out(seen: Observation) -> tuple[Amend, ...]:
    """Return an amendment for every step whose update was not applied: redone, it would be computed for nothing."""
    if seen.present is None:
        return ()
    steps = [event for worker in seen.workers for event in worker.events if event["event"] == "step"]
    found = [skip_of(seen.present.plan, event) for event in steps if not event.get("applied", True)]
    return tuple(Amend(skip) for skip in found if skip is not None)


def _decided(seen: Observation) -> tuple[Amend, ...]:
    """Return an amendment for a verdict: the plan is another one before the next attempt begins."""
    if seen.present is None:
        return ()
    verdicts = [event for worker in seen.workers for event in worker.events if event["event"] == "verdict"]
    rules = seen.present.policies.rules
    found = [amendment_for(seen.present.plan, rules, event) for event in verdicts]
    return tuple(Amend(change) for change in found if change is not None)


def _follow(state: State, seen: Observation, patience: Patience) -> Transition:
    """Judge what ends an attempt first, then what moves it on."""
    progress = state.progress
    # Of workers on a lost node nothing is heard any more.
    heard = [worker for worker in seen.workers if worker.node not in seen.lost_nodes]
    if isinstance(state, Failing):
        gone = all(worker.exit_code is not None for worker in heard)
        settled = gone or seen.at_once or seen.now - state.since >= _settling_s(progress, patience)
        return _after_failure(progress, seen, told=state.told) if settled else Transition(state)
    if progress.failures:
        return Transition(Failing(progress, seen.now, told=_told(state)))
    if stalled := progress.watch.stalled(seen.now):
        failures = tuple(each.failure() for each in stalled)
        return Transition(Failing(replace(progress, failures=failures), seen.now, told=_told(state)), (DumpStacks(),))
    if seen.at_once:
        return _leave(Yielded(progress), None if _told(state) else seen.stop, patience.hurry_s)
    if seen.workers and all(worker.exit_code is not None for worker in seen.workers):
        return _all_left(state, seen)
    return _move_on(state, seen, patience)


def _settling_s(progress: Progress, patience: Patience) -> float:
    """Return how long others are heard after a first failure."""
    if any(failure.kind is FailureKind.NODE_LOSS for failure in progress.failures):
        return patience.orphan_s
    if any(failure.kind is FailureKind.STALL for failure in progress.failures):
        return patience.echo_s  # While they write down where they are.
    return patience.echo_s if all(map(is_echo, progress.failures)) else patience.settle_s


def _all_left(state: State, seen: Observation) -> Transition:
    """Judge an attempt whose workers have all left in good order."""
    progress = state.progress
    if len(progress.finished) == len(seen.workers):
        return _leave(Finished(progress), None, 0.0)
    if len(progress.through) == len(seen.workers) and seen.stop is None and progress.gate:
        decided = Record(events.Decision(decision="end the run", reason=progress.gate))
        return Transition(Failed(progress), (EndWorkers(0.0), decided, *_ended(progress.step, "failed", FAILED)))
    if len(progress.through) == len(seen.workers) and seen.stop is None:
        # Nobody initialises DeepSpeed twice in a process: the next segment has workers of its own.
        return _again(progress, seen.now, state.without if isinstance(state, Draining) else frozenset())
    if isinstance(state, Draining) and state.then == "again" and seen.stop is None:
        return _again(progress, seen.now, state.without)
    if progress.orphaned and seen.stop is None and not isinstance(state, Draining):
        node = min(progress.orphaned)
        lost = WorkerFailure(rank=0, node=node, kind=FailureKind.NODE_LOSS, step=progress.step,
                             message=f"{node} was going away; the workers saved and left")
        return _after_failure(replace(progress, failures=(lost,)), seen, told=False)
    return _leave(Yielded(progress), None if _told(state) else seen.stop, 0.0)


def _told(state: State) -> bool:
    """Return whether the request to stop is in the journal."""
    return isinstance(state, Draining) and state.then == "yield"


def _move_on(state: State, seen: Observation, patience: Patience) -> Transition:
    """Judge a moment in which nothing went wrong and somebody is still at work."""
    match state:
        case Waiting(progress) if seen.stop is None and seen.workers:
            return Transition(Starting(progress, seen.now), (GiveOrders(),))
        case Waiting(progress) | Starting(progress) if seen.stop is not None:
            # Nothing is trained yet, and a worker that builds its engine would not look at its mailbox for minutes.
            return _leave(Yielded(progress), seen.stop, patience.grace_s)
        case Waiting(progress) | Starting(progress) if any(worker.exit_code == YIELDED for worker in seen.workers):
            # A signal reached one of them alone, and the others would wait for it for minutes.
            request = events.StopRequested(reason="signal", deadline=None)
            return _leave(Yielded(progress), request, patience.grace_s)
        case Starting():
            return _starting(state, seen.now, patience)
        case Running():
            return _running(state, seen, patience)
        case Draining(progress, _, "again") if seen.stop is not None:
            # They are stopping already; only what follows is another thing now.
            return Transition(Draining(progress, until(seen.stop, seen.now, patience)),
                              (Record(seen.stop), Drain(seen.stop)))
        case Draining(progress, end) if seen.stop and seen.stop.deadline and (
                (nearer := until(seen.stop, seen.now, patience)) < end):
            return Transition(replace(state, until=nearer), (Record(seen.stop), Drain(seen.stop)))
        case Draining(progress, end) if seen.now > end:
            return _late(state, seen, patience)
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


def _running(state: Running, seen: Observation, patience: Patience) -> Transition:
    """Judge steady training: whether to stop, to leave nodes, to take some in, to make standbys ready."""
    progress = state.progress
    if seen.stop is not None:
        return Transition(Draining(progress, until(seen.stop, seen.now, patience)),
                          (Record(seen.stop), Drain(seen.stop)))
    if seen.leaving:
        return make_way(progress, seen, patience)
    if progress.room_since is not None and seen.now - progress.room_since >= patience.grow_s:
        request = events.StopRequested(reason="controller", deadline=None)
        grow = events.Decision(decision="grow", reason="more nodes are there; the run saves and goes on with them")
        return Transition(Draining(progress, seen.now + patience.drain_s, "again"), (Record(grow), Drain(request)))
    steps = seen.present.plan.steps if seen.present else 0
    left = (steps - progress.step) * progress.pace
    if not progress.warmed and progress.steps_here >= 2 and left > patience.warm_s:
        return Transition(Running(replace(progress, warmed=True)), (WarmStandbys(),))
    return Transition(state)


def _late(state: Draining, seen: Observation, patience: Patience) -> Transition:
    """Judge a drain that missed its deadline: the last commit stands."""
    if state.then == "yield":
        return _leave(Yielded(state.progress), None, patience.grace_s)
    return _again(state.progress, seen.now, state.without)


def _after_failure(progress: Progress, seen: Observation, *, told: bool) -> Transition:
    """Journal every failure, end who is left, and do what `core.recovery` says of the cause."""
    failures = tuple(Record(events.Failed(**failure.model_dump())) for failure in _to_tell(progress, seen))
    trouble = trouble_of(causes(progress.failures)[0])
    begun = (*failures, EndWorkers(0.0))
    if seen.stop is not None:
        # A stop was under way; whatever broke while stopping is told, and the last commit stands.
        asked = () if told else (Record(seen.stop),)
        return Transition(Yielded(progress), (*begun, *asked, *_ended(progress.step, "yielded", YIELDED)))
    choice, remedy = answer(seen.history, trouble, seen.present)
    decided = Record(decision(trouble, choice, remedy.micro_batch))
    if isinstance(choice, Again):
        # An attempt that could not be placed has not begun, and so does not end.
        ended = (Record(events.AttemptEnded(outcome="failed", step=progress.step)),) if seen.workers else ()
        change = (*(() if remedy.skip is None else (Amend(remedy.skip),)),
                  *(() if remedy.micro_batch is None else (HalveMicroBatch(remedy.micro_batch),)))
        return Transition(Restarting(progress, seen.now + choice.delay_s, frozenset()),
                          (*begun, decided, *change, *ended))
    return Transition(Failed(progress), (*begun, decided, *_ended(progress.step, choice.outcome, choice.exit_code)))


def _to_tell(progress: Progress, seen: Observation) -> tuple[WorkerFailure, ...]:
    """Return the failures, but not what a batch system's signal to everything does to Ray: that is the stop itself."""
    if seen.stop is None or seen.stop.reason != "signal":
        return progress.failures
    return tuple(failure for failure in progress.failures if failure.kind is not FailureKind.NODE_LOSS)


def _again(progress: Progress, now: float, without: frozenset[str]) -> Transition:
    """End the attempt in good order, and begin the next one at once."""
    ended = Record(events.AttemptEnded(outcome="yielded", step=progress.step))
    return Transition(Restarting(progress, now, without), (EndWorkers(0.0), ended))


def _restart(state: Restarting, seen: Observation) -> Transition:
    """Begin the next attempt when it is time, unless a stop came first."""
    if seen.stop is not None:
        ended = Record(events.RunEnded(outcome="yielded", exit_code=YIELDED))
        return Transition(Yielded(state.progress), (Record(seen.stop), ended))
    if seen.now < state.until:
        return Transition(state)
    return Transition(Waiting(), (BeginAttempt(state.without | seen.history.struck()),))


def _leave(state: Finished | Yielded, request: events.StopRequested | None, grace_s: float) -> Transition:
    requested = (Record(request),) if request else ()
    outcome, exit_code = ("finished", FINISHED) if isinstance(state, Finished) else ("yielded", YIELDED)
    return Transition(state, (*requested, EndWorkers(grace_s), *_ended(state.progress.step, outcome, exit_code)))


def _ended(step: int, outcome: events.Outcome, exit_code: int) -> tuple[Record, Record]:
    return (Record(events.AttemptEnded(outcome=outcome, step=step)),
            Record(events.RunEnded(outcome=outcome, exit_code=exit_code)))
