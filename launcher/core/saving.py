"""When a checkpoint is due, and which ones to keep."""

from collections.abc import Mapping

from launcher.core.events import CheckpointKind
from launcher.core.intervals import Interval
from launcher.core.run_plan import RunPlan

LASTING: frozenset[CheckpointKind] = frozenset({"stage", "permanent", "best", "final"})
"""Kinds that are never deleted to make room."""


def kind_due(plan: RunPlan, step: int, every: Interval, *, clock_due: bool, stopping: bool) -> CheckpointKind | None:
    """Return what kind of checkpoint the state after `step` is worth, or None.

    `clock_due` is rank 0's word: a duration has passed since the last one began.
    """
    if step == plan.steps:
        return "final"
    if step == plan.stage_of(step).last_step:
        return "stage"
    if stopping:
        return "drain"
    return "periodic" if clock_due or (every.steps is not None and step % every.steps == 0) else None


def expendable(committed: Mapping[int, CheckpointKind], keep: int) -> list[int]:
    """Return the steps to delete: all passing ones but the newest `keep`, and never the newest of all."""
    passing = sorted((step for step, kind in committed.items() if kind not in LASTING), reverse=True)
    return [step for step in passing[keep:] if step != max(committed)]
