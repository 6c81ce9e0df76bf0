"""When a checkpoint is due, and which ones to keep."""

from collections.abc import Mapping
from dataclasses import dataclass

from launcher.core.events import CheckpointKind
from launcher.core.intervals import Interval, parse_interval, parse_steps
from launcher.core.recipe_running import CheckpointPolicy
from launcher.core.run_plan import RunPlan

LASTING: frozenset[CheckpointKind] = frozenset({"stage", "permanent", "best", "final"})
"""Kinds that `keep` does not count."""


@dataclass(frozen=True, slots=True)
class SavePolicy:
    """When to save, of what a recipe says."""

    every: Interval
    permanent: int | None
    """Steps."""
    best: str | None
    """The source whose holdout decides."""


def policy_of(wish: CheckpointPolicy) -> SavePolicy:
    """Return the policy that a recipe's words mean. Raises ValueError where they mean none."""
    permanent = None if wish.permanent is None else parse_steps(wish.permanent)
    return SavePolicy(parse_interval(wish.every), permanent, wish.best)


def kind_due(plan: RunPlan, step: int, policy: SavePolicy, *, clock_due: bool, stopping: bool,
             best: bool) -> CheckpointKind | None:
    """Return what kind of checkpoint the state after `step` is worth, or None.

    `clock_due` is rank 0's word: a duration has passed since the last one began. `best`: no evaluation before was
    as good.
    """
    if step == plan.steps:
        return "final"
    if step == plan.stage_of(step).last_step:
        return "stage"
    if stopping:
        return "drain"
    if policy.permanent is not None and step % policy.permanent == 0:
        return "permanent"
    if best:
        return "best"
    return "periodic" if clock_due or (policy.every.steps is not None and step % policy.every.steps == 0) else None


def expendable(committed: Mapping[int, CheckpointKind], keep: int) -> list[int]:
    """Return the steps to delete: of passing ones all but the newest `keep`, of best ones all but the last, which was
    better than those before; and never the newest of all."""
    passing = sorted((step for step, kind in committed.items() if kind not in LASTING), reverse=True)
    outdone = sorted((step for step, kind in committed.items() if kind == "best"), reverse=True)[1:]
    return [step for step in (*passing[keep:], *outdone) if step != max(committed)]
