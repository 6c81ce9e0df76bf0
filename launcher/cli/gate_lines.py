"""What `launcher plan` says of gates, early stopping and keep-best: one line for each, or more."""

from collections.abc import Iterator

from launcher.cli.plan_table import labelled
from launcher.core.recipe import Recipe, Stage
from launcher.core.recipe_gates import Forget
from launcher.core.stage_rules import with_more_replay


def gate_lines(recipe: Recipe) -> list[str]:
    """Return what may end, repeat or stop a stage besides its length, in lines of 80 columns."""
    return [labelled(label, f"{stage.name}: {told}") for stage in recipe.stages for label, told in _of(stage)]


def _of(stage: Stage) -> Iterator[tuple[str, str]]:
    early = stage.early_stopping
    if early is not None:
        least = f" by {100 * early.min_delta:g}%" if early.min_delta else ""
        yield "ends", f"early after {early.patience} evaluations in a row without a lower loss{least} on {early.source}"
    if stage.keep_best is not None:
        yield "keeps", f"the evaluation with the lowest loss on {stage.keep_best}"
    if stage.forget is not None:
        limits = ", ".join(f"{name} {100 * limit:g}%" for name, limit in stage.forget.limits.items())
        over = "the base" if stage.forget.against == "base" else "its best"
        yield "gate", f"{limits} over {over} at most, else {_else(stage, stage.forget)}"


def _else(stage: Stage, gate: Forget) -> str:
    if gate.action != "repeat":
        return {"stop": "the run stops", "warn": "a warning"}[gate.action]
    shares = ", then ".join(f"{100 * with_more_replay(stage, times).replay.share:g}%"
                            for times in range(1, gate.repeats + 1))
    return f"again with {shares} replay; then {'a warning' if gate.then == 'warn' else 'the run stops'}"
