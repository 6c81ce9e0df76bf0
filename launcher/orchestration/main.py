"""The controller process: `python -m launcher.orchestration.main SCRATCH --slots N ...`.

Started by the supervisor before it knows whether the recipe can be planned, so that imports overlap with planning: the
workers of this node start at once as standbys, Ray itself only after the word to go. Closing its input without that
word makes it leave and take the standbys along.
"""

import argparse
import shutil
import sys
import traceback
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from launcher.core.errors import (
    FAILED,
    INFRASTRUCTURE,
    REFUSED,
    YIELDED,
    LauncherError,
    PlatformError,
    RunFailed,
    Unplannable,
)
from launcher.core.events import Failed, RunEnded, StopRequested
from launcher.core.failure import FailureKind
from launcher.core.recovery import Over, Trouble, decide, decision
from launcher.orchestration import ray_cluster
from launcher.orchestration.attempts import Attempts
from launcher.orchestration.controller import Controller
from launcher.orchestration.node_agent import NodeAgent
from launcher.orchestration.placement import HerePlacement, Placement, PlacementLost
from launcher.orchestration.requests import Go, Requests, standard_input
from launcher.storage.files import full_disk
from launcher.storage.journal import keep_unsaid

AGAIN = 77
"""Exit code of a controller that cannot go on and may be replaced; people never see it."""


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
        placement = _placement(chosen, requests, cleanup)
        go = requests.wait_go()
        code = YIELDED if go is None else work(go, requests, placement, chosen.scratch)
    if requests.orphaned:
        # Otherwise the supervisor removes it, after it has ended what may be left.
        shutil.rmtree(chosen.scratch, ignore_errors=True)
    return code


def work(go: Go, requests: Requests, placement: Placement, scratch: Path) -> int:
    """Work on the run until it ends, journalled from its first moment to its last."""
    attempts = Attempts(go, placement, requests)
    try:
        attempts.open()
        requests.watch_run(attempts.run, go.token)
        if go.revived and (over := _answer_loss(attempts, requests, go.revived)) is not None:
            return over
        if requests.stop is not None:
            return _record_stopped(attempts, requests.stop)
        return Controller(attempts, requests).run()
    except PlacementLost as error:
        traceback.print_exception(error)
        if requests.stop is not None:
            # What took Ray away asked for a stop as well.
            return _record_stopped(attempts, requests.stop)
        # Not the end: the supervisor starts another controller, which brings everything up anew.
        return AGAIN
    except (PlatformError, Unplannable) as error:
        if not go.revived:
            return _record_breakdown(attempts, error)
        # The run has worked here before: what is gone may come back, for as long as the budget lasts.
        attempts.record(Failed(kind=FailureKind.STARTUP, rank=None, node=None, step=None, message=str(error)))
        return AGAIN
    except Exception as error:
        return _record_breakdown(attempts, error)
    finally:
        attempts.close()
        keep_unsaid(scratch, attempts.journal.unsaid)


def _placement(chosen: argparse.Namespace, requests: Requests, cleanup: ExitStack) -> Placement:
    """Start what can start before the plan is known; return how attempts are placed once it is."""
    if chosen.mode == "cluster":
        from launcher.orchestration.cluster_placement import ClusterPlacement

        return ClusterPlacement(chosen.address, requests, cleanup)
    standbys = NodeAgent(chosen.scratch)
    cleanup.callback(standbys.close)
    folders = standbys.start(chosen.slots, chosen.threads, chosen.device)
    if chosen.mode == "plain":
        return HerePlacement(standbys)
    ray_cluster.prepare_private(chosen.scratch / ray_cluster.FOLDER)
    from launcher.orchestration.embedded_placement import EmbeddedPlacement

    return EmbeddedPlacement(chosen.scratch, standbys, folders, requests, cleanup)


def _answer_loss(attempts: Attempts, requests: Requests, message: str) -> int | None:
    """Journal that the controller before this one was lost; return the exit code if that is the run's end."""
    trouble = Trouble(FailureKind.CONTROLLER_LOSS, "", None, message, raised=False)
    choice = decide(attempts.history, trouble)
    lost = Failed(kind=trouble.kind, rank=None, node=None, step=None, message=message)
    attempts.record(lost)
    attempts.record(decision(trouble, choice))
    if isinstance(choice, Over):
        attempts.record(RunEnded(outcome=choice.outcome, exit_code=choice.exit_code))
        return choice.exit_code
    requests.wait_stop(choice.delay_s)
    return None


def _record_stopped(attempts: Attempts, request: StopRequested) -> int:
    """Journal a stop of a run that has no workers."""
    attempts.record(request)
    attempts.record(RunEnded(outcome="yielded", exit_code=YIELDED))
    return YIELDED


def _record_breakdown(attempts: Attempts, error: Exception) -> int:
    """Journal an attempt that broke outside its workers, so that the run has an end and a reason."""
    traceback.print_exception(error)
    code = error.exit_code if isinstance(error, LauncherError) else FAILED
    kind = FailureKind.STARTUP if code in (INFRASTRUCTURE, REFUSED) else FailureKind.CONTROLLER_LOSS
    kind = FailureKind.STORAGE if isinstance(error, RunFailed) else kind
    full = full_disk(error)
    kind, code = (FailureKind.STORAGE, INFRASTRUCTURE) if full else (kind, code)
    told = "" if full or isinstance(error, LauncherError) else "".join(traceback.format_exception(error))
    message = full or (str(error) if isinstance(error, LauncherError) else f"{type(error).__name__}: {error}")
    failure = Failed.model_validate({"kind": kind, "rank": None, "node": None, "step": None, "message": message,
                                     "traceback": told})
    attempts.record(failure)
    refused = isinstance(error, Unplannable)
    attempts.record(RunEnded(outcome="refused" if refused else "failed", exit_code=code))
    return code


if __name__ == "__main__":
    sys.exit(main())
