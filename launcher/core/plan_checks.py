"""What a plan cannot be, told with numbers: sources without rows, stages without a step, a thousand epochs."""

from collections.abc import Callable, Iterator
from fractions import Fraction

from launcher.core.errors import Problem, Unplannable
from launcher.core.mixing import rows_by_source
from launcher.core.recipe import Recipe
from launcher.core.run_plan import RunPlan, StagePlan
from launcher.core.yaml_tree import FieldPath, dotted

MOST_EPOCHS = 1000
"""Seen more often in one stage, a source is learnt by heart; surely a length or a weight is mistaken."""

Found = Iterator[tuple[FieldPath, str]]


def refuse_impossible(plan: RunPlan, recipe: Recipe, where: Callable[[FieldPath], str]) -> None:
    """Raise Unplannable with everything in a plan that cannot be trained or measured."""
    found = [*_sources(plan, recipe), *(each for stage in plan.stages for each in _stage(plan, stage))]
    if found:
        raise Unplannable([Problem(where(path), dotted(path), message) for path, message in found])


def _sources(plan: RunPlan, recipe: Recipe) -> Found:
    for name, source in plan.sources.items():
        path, holdout = ("sources", name), recipe.sources[name].holdout
        if not source.rows:
            yield path, "has no row to train on; `launcher prepare` says what became of its documents"
        if holdout.wanted and not source.holdout_rows:
            yield (*path, "holdout"), f"{holdout} keeps none of so few documents to evaluate; raise it or remove it"


def _stage(plan: RunPlan, stage: StagePlan) -> Found:
    path, total = ("stages", stage.index), sum(stage.weights.values())
    if stage.rows < plan.rows_per_step:
        yield (*path, "length"), (f"the stage has {stage.rows} rows, less than one batch of {plan.rows_per_step}; "
                                  "make the stage longer or the batch smaller")
    for name, rows in rows_by_source(stage).items():
        source = plan.sources[name]
        if not rows:
            ideal = float(Fraction(stage.rows * stage.weights[name], total))
            yield (*path, "mix", name), (f"gets {ideal:.2g} rows of the stage's {stage.rows}; give it a larger weight "
                                         "or the stage more rows")
        elif source.rows and rows > MOST_EPOCHS * source.rows:
            yield (*path, "mix", name), (f"is seen {rows / source.rows:,.0f} times: {rows} rows of a source of "
                                         f"{source.rows}; at most {MOST_EPOCHS} epochs of a stage make sense")
