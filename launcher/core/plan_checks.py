"""What a plan cannot be, told with numbers: sources without rows, stages without a step, a thousand epochs."""

from collections.abc import Callable, Iterator
from fractions import Fraction

from launcher.core import adapter_checks, speed_checks
from launcher.core.errors import Problem, Unplannable
from launcher.core.gate_checks import evaluation_problems
from launcher.core.mixing import rows_by_source
from launcher.core.policies import unfreezing_problem
from launcher.core.recipe import Recipe, Stage
from launcher.core.run_plan import RunPlan, StagePlan
from launcher.core.yaml_tree import FieldPath, dotted

MOST_EPOCHS = 1000
"""Seen more often in one stage, a source is learnt by heart; surely a length or a weight is mistaken."""

Found = Iterator[tuple[FieldPath, str]]


def refuse_impossible(plan: RunPlan, recipe: Recipe, where: Callable[[FieldPath], str]) -> None:
    """Raise Unplannable with everything in a plan that cannot be trained or measured."""
    stages = zip(plan.stages, recipe.stages, strict=True)
    found = [*_sources(plan, recipe), *_templates(plan),
             *(each for stage, wish in stages for each in (*_stage(plan, stage, wish),
                                                           *evaluation_problems(plan, stage, wish)))]
    if found:
        raise Unplannable([Problem(where(path), dotted(path), message) for path, message in found])


def _sources(plan: RunPlan, recipe: Recipe) -> Found:
    for name, source in plan.sources.items():
        path, holdout = ("sources", name), recipe.sources[name].holdout
        if not source.rows:
            yield path, "has no row to train on; `launcher prepare` says what became of its documents"
        if holdout.wanted and not source.holdout_rows:
            yield (*path, "holdout"), f"{holdout} keeps none of so few documents to evaluate; raise it or remove it"


def _templates(plan: RunPlan) -> Found:
    yield from adapter_checks.template_problems(plan.adapter, plan.ds_template)
    yield from speed_checks.template_problems(plan.model, plan.ds_template)
    for stage in plan.stages:
        if stage.deepspeed in plan.ds_templates:
            path, template = ("stages", stage.index, "deepspeed"), plan.ds_templates[stage.deepspeed]
            yield from adapter_checks.template_problems(plan.adapter, template, path)
            yield from speed_checks.template_problems(plan.model, template, path)


def _stage(plan: RunPlan, stage: StagePlan, wish: Stage) -> Found:
    path = ("stages", stage.index)
    if stage.rows < plan.batch_of(stage):
        yield (*path, "length"), (f"the stage has {stage.rows} rows, less than one batch of {plan.batch_of(stage)}; "
                                  "make the stage longer or the batch smaller")
    elif (problem := unfreezing_problem(plan, stage)) is not None:
        yield (*path, "unfreeze"), problem
    for name, rows in rows_by_source(stage).items():
        source, place = plan.sources_of(stage)[name], (*path, *_field(wish, name))
        who = "" if name in place else f"{name} "
        if not rows:
            yield place, (f"{who}gets {_ideal(stage, name)} of the stage's {stage.rows}; give it a larger weight or "
                          "the stage more rows")
        elif source.rows and rows > MOST_EPOCHS * source.rows:
            yield place, (f"{who}is seen {rows / source.rows:,.0f} times: {rows} rows of a source of {source.rows}; at "
                          f"most {MOST_EPOCHS} epochs of a stage make sense")


def _field(wish: Stage, name: str) -> tuple[str, ...]:
    """Return which field of a stage brings a source in."""
    if name in wish.mix:
        return "mix", name
    return ("mix_end", name) if name in wish.mixed else ("replay",)


def _ideal(stage: StagePlan, name: str) -> str:
    """Return how much of a row a source that gets none would have, where that is one number."""
    if stage.spans:
        return "no row"
    return f"{float(Fraction(stage.rows * stage.weights[name], sum(stage.weights.values()))):.2g} rows"
