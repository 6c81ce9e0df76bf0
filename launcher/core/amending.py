"""Changing a run that has begun: only what is still to come may change, and the change is recorded.

Decides what may differ between the plan that a run has and the one that is asked for now. Where amendments are kept is
`storage.run_start`.
"""

from collections.abc import Iterable

from launcher.core.plan_changes import changes
from launcher.core.run_plan import Amendment, RunPlan

SHOWN = 12
"""Differences told in one message; the rest follows from them."""


def amend(before: RunPlan, after: RunPlan, done: int) -> Amendment | None:
    """Return the amendment that makes one plan the other, when `done` steps are safe; None if they are the same.

    Raises ValueError with the differences if anything differs that has begun, or that holds for the whole run.
    """
    found = changes(before, after)
    if not found:
        return None
    same = _same_stages(before, after)
    kept = before.stages[:same]
    made = Amendment(
        from_step=kept[-1].last_step + 1 if kept else 1, kind="change_stages", reason=told(found),
        stages=after.stages[same:], sources=after.sources, segments=after.segments,
        evaluate_every=after.evaluate_every, export_dtype=after.export_dtype)
    begun = [stage for stage in before.stages if stage.first_step <= done]
    if len(begun) > same or amended(before, [made]) != after or not _keeps_data(before, after, begun_stages=len(begun)):
        raise ValueError(told(found))
    return made


def amended(plan: RunPlan, amendments: Iterable[Amendment]) -> RunPlan:
    """Return the plan as it is after its amendments, in order."""
    for amendment in amendments:
        kept = tuple(stage for stage in plan.stages if stage.last_step < amendment.from_step)
        stages = (*kept, *amendment.stages)
        plan = plan.model_copy(update={
            "stages": stages, "steps": stages[-1].last_step, "rows": stages[-1].first_row + stages[-1].rows,
            "sources": amendment.sources, "segments": amendment.segments,
            "evaluate_every": amendment.evaluate_every, "export_dtype": amendment.export_dtype})
    return plan


def told(found: list[str]) -> str:
    """Return differences as lines for people."""
    more = [f"... and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
    return "\n".join(f"  {line}" for line in [*found[:SHOWN], *more])


def _same_stages(before: RunPlan, after: RunPlan) -> int:
    """Return how many stages at the beginning are the same."""
    same = 0
    for one, other in zip(before.stages, after.stages, strict=False):
        if one != other:
            break
        same += 1
    return same


def _keeps_data(before: RunPlan, after: RunPlan, *, begun_stages: int) -> bool:
    """Return whether the sources that were trained on are the same."""
    used = {name for stage in before.stages[:begun_stages] for name in stage.weights}
    return all(before.sources[name] == after.sources.get(name) for name in used)
