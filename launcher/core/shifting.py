"""A plan some of whose stages have become shorter or other ones: where everything after them begins then.

Decides numbers that follow from others: first steps and rows, what was consumed before, and segments. Which stages
become others is an amendment (`core.amending`).
"""

from collections.abc import Sequence

from launcher.core.document import fingerprint
from launcher.core.mixing import seen_in
from launcher.core.run_plan import Cut, RunPlan, StagePlan
from launcher.core.segments import segments_of
from launcher.core.source_limits import consumed


def with_stages(plan: RunPlan, stages: Sequence[StagePlan]) -> RunPlan:
    """Return the plan with these stages, one after the other.

    Segments are made anew: a stage that is repeated may have more of them than where it ended early, and the plan may
    not depend on which amendment came first.
    """
    made: list[StagePlan] = []
    for stage in stages:
        before = made[-1] if made else None
        used = consumed(made, plan.sources_of(stage), stage.sequence_length)
        made.append(stage.model_copy(update={
            "first_step": before.last_step + 1 if before else 1,
            "first_row": before.first_row + before.rows_done if before else 0,
            # Sources that came when this was planned already are none of its past: its checkpoints would not know it.
            "consumed_before": {**dict.fromkeys(stage.consumed_before, 0), **{
                name: rows for name, rows in used.items() if rows or name in stage.consumed_before}}}))
    return plan.model_copy(update={
        "stages": tuple(made), "steps": made[-1].last_step, "rows": made[-1].first_row + made[-1].rows_done,
        "segments": segments_of(made, sequence_length=plan.sequence_length, deepspeed=fingerprint(plan.ds_template),
                                adapter=plan.adapter is not None, layers=plan.layers,
                                per_stage=plan.adapter is not None and plan.adapter.per_stage is not None)})


def cut_after(plan: RunPlan, index: int, step: int) -> RunPlan:
    """Return the plan with a stage that ends with a step, the steps that would have followed left away."""
    stage = plan.stages[index]
    rows = plan.rows_of(step).stop
    seen = seen_in(stage, rows, plan.seed) if stage.in_turn else {}
    cut = Cut(steps=step - stage.first_step + 1, rows=rows, seen=seen)
    return with_stages(plan, [*plan.stages[:index], stage.model_copy(update={"cut": cut}), *plan.stages[index + 1:]])
