"""The controller process: `python -m launcher.orchestration.main SCRATCH --slots N ...`.

Started by the supervisor before it knows whether the recipe can be planned, so that imports overlap with planning: the
workers of this node start at once as standbys, Ray itself only after the word to go. Closing its input without that
word makes it leave and take the standbys along.
"""

import argparse
import os
import shutil
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from launcher.core.attempt import AttemptPlan
from launcher.core.errors import FAILED, INFRASTRUCTURE, REFUSED, YIELDED, LauncherError, Unplannable
from launcher.core.events import CheckpointRejected, Failed, RunEnded, RunStarted, StopRequested
from launcher.core.failure import FailureKind
from launcher.core.saving import between_failures
from launcher.orchestration import ray_cluster
from launcher.orchestration.controller import Controller, OrderBook
from launcher.orchestration.gang import Gang
from launcher.orchestration.node_agent import Agent, NodeAgent
from launcher.orchestration.requests import Go, Requests, standard_input
from launcher.orchestration.startup import Stopwatch
from launcher.storage.checkpoints import Checkpoints
from launcher.storage.journal import Journal, read_journal
from launcher.storage.process_id import process_id
from launcher.storage.run_dir import RunDir

Place = Callable[[Go, Stopwatch], tuple[Sequence[Agent], AttemptPlan]]
"""Brings up what an attempt needs on its nodes: one agent each, with the attempt as it is placed on them."""


def options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse what the supervisor passes; people never type it."""
    parser = argparse.ArgumentParser(prog="launcher.orchestration.main", description=__doc__)
    parser.add_argument("scratch", type=Path, help="node-local folder for mailboxes and Ray")
    parser.add_argument("--slots", type=int, default=0, help="standbys to start here")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--mode", choices=("plain", "embedded", "cluster"), default="embedded")
    parser.add_argument("--address", default="", help="of the cluster, in that mode")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Live the controller's life and return its exit code."""
    chosen = options(arguments)
    requests = Requests()
    requests.take_signals()
    requests.listen(standard_input())
    with ExitStack() as cleanup:
        place = _placement(chosen, requests, cleanup)
        go = requests.wait_go()
        code = YIELDED if go is None else attempt(go, requests, place)
    if requests.orphaned:
        # Otherwise the supervisor removes it, after it has ended what may be left.
        shutil.rmtree(chosen.scratch, ignore_errors=True)
    return code


def attempt(go: Go, requests: Requests, place: Place) -> int:
    """Run one attempt, journalled from its first moment to its last."""
    run = RunDir(go.run_dir)
    _append_output(run.attempt_path(go.attempt, "controller.log"))
    journal = Journal(run, go.attempt)
    stopwatch = Stopwatch(go.typed, go.phases)
    # The standbys started with this process, long before there was a stopwatch.
    stopwatch.begin("imports", process_id().started)
    try:
        _record_start(run, go, journal)
        requests.watch_run(run, go.token)
        if requests.stop is not None:
            return _record_stopped(journal, requests.stop)
        agents, placed = place(go, stopwatch)
        placed = placed.model_copy(update={"resume": _newest(run, go, journal)})
        run.store.put(run.attempt_key(go.attempt, "attempt.json"), placed.to_json().encode())
        run.store.put(run.attempt_key(go.attempt, "cluster.json"), placed.cluster.to_json().encode())
        orders = OrderBook(go.run_dir, go.cache, go.plan, placed, go.checkpoint,
                           between_failures(read_journal(run)))
        return Controller(Gang(agents, placed), journal, orders, requests, stopwatch).run()
    except Exception as error:
        return _record_breakdown(journal, error)
    finally:
        journal.close()


def _placement(chosen: argparse.Namespace, requests: Requests, cleanup: ExitStack) -> Place:
    """Start what can start before the plan is known; return how to place the attempt once it is."""
    if chosen.mode == "cluster":
        from launcher.orchestration.ray_placement import place_on_cluster

        return lambda go, stopwatch: place_on_cluster(go, stopwatch, chosen.address, requests, cleanup)
    standbys = NodeAgent(chosen.scratch)
    cleanup.callback(standbys.close)
    folders = standbys.start(chosen.slots, chosen.threads, chosen.device)
    if chosen.mode == "plain":
        return lambda go, stopwatch: ([standbys], _settled(go))
    ray_cluster.prepare_private(chosen.scratch / ray_cluster.FOLDER)
    from launcher.orchestration.ray_placement import place_embedded

    return lambda go, stopwatch: (
        [place_embedded(stopwatch, chosen.scratch, standbys, folders, requests, cleanup)], _settled(go))


def _settled(go: Go) -> AttemptPlan:
    assert go.placed is not None, "on this machine the attempt is placed before the word to go"
    return go.placed


def _record_start(run: RunDir, go: Go, journal: Journal) -> None:
    told = [event["plan"] for event in read_journal(run) if event["event"] == "run_started"]
    # Again when the plan was amended: how many steps there are is another number then.
    if told[-1:] != [go.plan.chain()]:
        started = RunStarted(name=go.plan.name, steps=go.plan.steps, plan=go.plan.chain())
        journal.append(started, durable=True)


def _newest(run: RunDir, go: Go, journal: Journal) -> int | None:
    """Return the step to continue from, what older attempts were writing put out of their reach."""
    checkpoints = Checkpoints(run, go.plan.chain)
    checkpoints.fence(go.attempt)
    checkpoints.sweep()

    def rejected(step: int, reason: str) -> None:
        journal.append(CheckpointRejected(step=step, reason=reason), durable=True)

    saved = [int(event["step"]) for event in read_journal(run) if event["event"] == "checkpoint_committed"]
    return checkpoints.newest(rejected, saved[-1] if saved else None)


def _record_stopped(journal: Journal, request: StopRequested) -> int:
    """Journal a stop that came before there was anything to stop."""
    journal.append(request, durable=True)
    journal.append(RunEnded(outcome="yielded", exit_code=YIELDED), durable=True)
    return YIELDED


def _record_breakdown(journal: Journal, error: Exception) -> int:
    """Journal an attempt that broke outside its workers, so that the run has an end and a reason."""
    traceback.print_exception(error)
    code = error.exit_code if isinstance(error, LauncherError) else FAILED
    kind = FailureKind.STARTUP if code in (INFRASTRUCTURE, REFUSED) else FailureKind.CONTROLLER_LOSS
    told = "" if isinstance(error, LauncherError) else "".join(traceback.format_exception(error))
    message = str(error) if isinstance(error, LauncherError) else f"{type(error).__name__}: {error}"
    failure = Failed.model_validate({"kind": kind, "rank": None, "node": None, "step": None, "message": message,
                                     "traceback": told})
    journal.append(failure, durable=True)
    refused = isinstance(error, Unplannable)
    journal.append(RunEnded(outcome="refused" if refused else "failed", exit_code=code), durable=True)
    return code


def _append_output(log: Path) -> None:
    """Let everything this process prints from here on, Ray's libraries included, stand in the attempt's log."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)


if __name__ == "__main__":
    sys.exit(main())
