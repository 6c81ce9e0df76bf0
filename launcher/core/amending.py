"""Changing a run that has begun: only what is still to come may change, and the change is recorded.

Decides what may differ between the plan that a run has and the one that is asked for now, and how steps are left out.
Which steps deserve that is `core.divergence`; where amendments are kept is `storage.amendments`.
"""

from collections.abc import Iterable
from typing import assert_never

from launcher.core.amendment import Amendment, ChangeStages, EndStage, RepeatStage, SkipRows
from launcher.core.manifest import Manifest
from launcher.core.plan_changes import changes, document_changes
from launcher.core.run_plan import RunPlan, SourcePlan, StagePlan
from launcher.core.shifting import cut_after, with_stages

FOLLOWS = ("rows:", "steps:", "stages", "segments")
"""Fields of a plan that follow from its stages."""
SHOWN = 12
"""Differences told in one message; the rest follows from them."""


def amend(before: RunPlan, after: RunPlan, done: int) -> ChangeStages | None:
    """Return the amendment that makes one plan the other, when `done` steps are safe; None if they are the same.

    Steps that are left out stay so: a recipe knows nothing of them. Raises ValueError with the differences if anything
    differs that has begun, or that holds for the whole run.
    """
    before, after = _whole(before), _as_counted(before, _as_begun(before, _whole(after), done))
    found = changes(before, after)
    if not found:
        return None
    same = _same_stages(before, after)
    kept = before.stages[:same]
    made = ChangeStages(
        from_step=kept[-1].last_step + 1 if kept else 1, reason=told(found),
        stages=after.stages[same:], sources=after.sources, segments=after.segments,
        evaluate_every=after.evaluate_every, export_dtype=after.export_dtype,
        lengths=after.lengths, ds_templates=after.ds_templates, layers=after.layers)
    begun = [stage for stage in before.stages if stage.first_step <= done]
    if len(begun) > same or amended(before, [made]) != after or not _keeps_data(before, after, begun_stages=len(begun)):
        raise ValueError(told(found))
    return made


def amend_skip(plan: RunPlan, steps: Iterable[int], reason: str) -> SkipRows | None:
    """Return the amendment that leaves out the rows of steps; None if a plan leaves out all of them already.

    Raises IndexError if one is not of the run.
    """
    wanted = sorted(set(steps) - set(plan.skipped_steps))
    for step in wanted:
        plan.stage_of(step)
    return SkipRows(from_step=wanted[0], reason=reason, steps=tuple(wanted)) if wanted else None


def missing_skips(plan: RunPlan, manifest: Manifest) -> SkipRows | None:
    """Return the amendment that a checkpoint knows of and the plan does not; None if there is none.

    A checkpoint may be committed before the controller has recorded that a step was left out. None too if the
    checkpoint is of another past: then it does not speak for this run.
    """
    reason = f"left out when the checkpoint of step {manifest.step} was made"
    steps = [step for step in manifest.skipped if step <= min(plan.steps, manifest.step)]
    found = amend_skip(plan, steps, reason)
    return found if found and amended(plan, [found]).chain(manifest.step) == manifest.chain else None


def amended(plan: RunPlan, amendments: Iterable[Amendment]) -> RunPlan:
    """Return the plan as it is after its amendments, in order."""
    for amendment in amendments:
        match amendment:
            case ChangeStages():
                plan = _with_stages(plan, amendment)
            case SkipRows():
                skipped = tuple(sorted({*plan.skipped_steps, *amendment.steps}))
                plan = plan.model_copy(update={"skipped_steps": skipped})
            case EndStage(stage=index, from_step=step):
                plan = _until(cut_after(plan, index, step - 1), step)
            case RepeatStage(stage=again, from_step=step):
                stages = [again if stage.index == again.index else stage for stage in plan.stages]
                plan = _until(with_stages(plan, stages), step)
            case _:
                assert_never(amendment)
    return plan


def carried(before: RunPlan, after: RunPlan, amendments: Iterable[Amendment]) -> RunPlan:
    """Return the plan that is asked for now with what was decided while the run was under way: stages that ended early,
    or were repeated.

    A recipe knows nothing of that. Where it asks for another stage than the one that was decided about, the plan is
    returned as far as it goes, and `amend` tells the difference.
    """
    asked = _as_asked(before, amendments)
    for stage in before.stages[: len(after.stages)]:
        if asked[stage.index] != _placeless(after.stages[stage.index]):
            break
        if stage.repeat:
            after = with_stages(after, [*after.stages[: stage.index], stage.uncut, *after.stages[stage.index + 1:]])
        if stage.cut:
            after = _as_begun(before, after, stage.last_step)
            after = cut_after(after, stage.index, after.stages[stage.index].first_step + stage.cut.steps - 1)
    return after


def asked_otherwise(before: RunPlan, after: RunPlan, amendments: Iterable[Amendment]) -> list[str]:
    """Return in what the first stage that is asked for otherwise differs from how it was asked for, and what differs
    for the whole run. What was decided about stages meanwhile, and what follows for later ones, would hide it."""
    asked = _as_asked(before, amendments)
    for old, new in zip(asked, map(_placeless, after.stages), strict=False):
        if old != new:
            rest = [line for line in changes(before, after) if not line.startswith(FOLLOWS)]
            return [*document_changes(f"stages.{new.index}", old, new), *rest]
    return []


def _as_asked(before: RunPlan, amendments: Iterable[Amendment]) -> list[StagePlan]:
    """Return the stages as the recipe asked for them, without their places."""
    first = {made.was.index: made.was for made in amendments if isinstance(made, RepeatStage) and not made.was.repeat}
    return [_placeless(first.get(stage.index, stage) if stage.repeat else stage) for stage in before.stages]


def _placeless(stage: StagePlan) -> StagePlan:
    """Return a stage without what depends on when the stages before it ended, nor on the rules that it began with."""
    return stage.uncut.model_copy(update={"first_step": 0, "first_row": 0, "consumed_before": {}, "in_turn": False})


def _as_begun(before: RunPlan, after: RunPlan, done: int) -> RunPlan:
    """Return a plan whose stages that have begun go on with the order of rows that they began with: rules of when a
    stage ends may come and go while it is trained."""
    began = [stage.in_turn for stage in before.stages if stage.first_step <= done]
    stages = [stage.model_copy(update={"in_turn": began[stage.index]}) if stage.index < len(began) else stage
              for stage in after.stages]
    return after.model_copy(update={"stages": tuple(stages)})


def _until(plan: RunPlan, step: int) -> RunPlan:
    """Return a plan whose steps from one on name other rows than before: what was left out of them is not any more."""
    return plan.model_copy(update={"skipped_steps": tuple(number for number in plan.skipped_steps if number < step)})


def _with_stages(plan: RunPlan, change: ChangeStages) -> RunPlan:
    kept = tuple(stage for stage in plan.stages if stage.last_step < change.from_step)
    stages = (*kept, *change.stages)
    return plan.model_copy(update={
        "stages": stages, "steps": stages[-1].last_step, "rows": stages[-1].first_row + stages[-1].rows_done,
        "sources": change.sources, "segments": change.segments,
        "lengths": change.lengths, "ds_templates": change.ds_templates, "layers": change.layers,
        "evaluate_every": change.evaluate_every, "export_dtype": change.export_dtype,
        # The numbers of steps to come name other rows now.
        "skipped_steps": tuple(step for step in plan.skipped_steps if step < change.from_step)})


def _whole(plan: RunPlan) -> RunPlan:
    return plan.model_copy(update={"skipped_steps": ()})


def _as_counted(before: RunPlan, after: RunPlan) -> RunPlan:
    """Return a plan whose first stages count the rows of those sources that they counted when they were planned: one
    that came later, with a stage that is appended, was nothing to them, nor one that has gone."""
    stages = list(after.stages)
    for old, new in zip(before.stages, after.stages, strict=False):
        counts = {name: new.consumed_before.get(name, 0) for name in old.consumed_before}
        others = any(count for name, count in new.consumed_before.items() if name not in counts)
        if others or new.model_copy(update={"consumed_before": counts}) != old:
            break
        stages[old.index] = old
    return after.model_copy(update={"stages": tuple(stages)})


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
    return all(_same_source(before.sources_of(stage)[name], after.sources_of(stage).get(name))
               for stage in before.stages[:begun_stages] for name in stage.weights)


def _same_source(before: SourcePlan, after: SourcePlan | None) -> bool:
    # Whether their documents are counted depends on what later stages weigh by.
    return after is not None and before == after.model_copy(update={"documents": before.documents})
