"""What a person is told of checkpoints."""

from rich.console import Console

from launcher.report.fold import RunFold
from launcher.report.live import LineView, panel

STARTED = {"event": "run_started", "name": "r", "steps": 9, "plan": "p", "time": 1.0, "attempt": 1}
RESUMED = {"event": "attempt_started", "workers": [{"rank": 0}], "world_size": 1, "resume": 4, "time": 2.0,
           "attempt": 1}


def told(*events):
    console = Console(width=80, color_system=None)
    fold = RunFold([])
    view = LineView(console)
    with console.capture() as capture:
        fold.add(*events)
        view.show(fold, list(events))
        console.print(panel(fold))
    return capture.get()


def test_where_an_attempt_goes_on_and_what_is_safe():
    committed = {"event": "checkpoint_committed", "step": 6, "kind": "periodic", "seconds": 0.1, "blocked_seconds": 0.0,
                 "bytes": 10, "time": 3.0, "attempt": 1}
    printed = told(STARTED, RESUMED, committed)
    assert "attempt 1: 1 worker, going on after step 4" in printed and "saved     step 6" in printed


def test_a_checkpoint_that_came_to_nothing_is_not_passed_over():
    failed = {"event": "checkpoint_failed", "step": 5, "reason": "rank 1: No space left on device", "time": 3.0,
              "attempt": 1}
    rejected = {"event": "checkpoint_rejected", "step": 5, "reason": "rank-000.bin is missing", "time": 3.0,
                "attempt": 1}
    printed = told(STARTED, RESUMED, failed, rejected)
    assert "step 5 FAILED: rank 1: No space left on device; training goes on" in printed
    assert "step 5 REJECTED: rank-000.bin is missing; taking the one before" in printed
