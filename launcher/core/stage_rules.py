"""What holds for a stage besides its training: its gate, early stopping, keep-best, and what a repeat of it would be.

Made from the recipe beside the plan and not in it: none of this is training, so it may change in a run that has begun,
in stages that are over, too. What follows from it is `core.verdicts`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from launcher.core.document import Document
from launcher.core.errors import Problem, Unplannable
from launcher.core.known import Known
from launcher.core.planning import NOTHING_MORE, Where, nowhere, plan
from launcher.core.recipe import Recipe, Stage
from launcher.core.recipe_gates import EarlyStopping, Forget
from launcher.core.run_plan import StagePlan
from launcher.core.source_index import Prepared
from launcher.core.yaml_tree import dotted


class StageRules(Document):
    """Of one stage."""

    mix: tuple[str, ...] = ()
    """Sources of its own mix; what it draws on besides is replay."""
    forget: Forget | None = None
    early_stopping: EarlyStopping | None = None
    keep_best: str | None = None
    repeats: tuple[StagePlan, ...] = ()
    """The stage with more and more replay, for a gate that repeats it. Where it begins is the run's."""

    @property
    def gates_with(self) -> tuple[str, ...]:
        """Return the sources whose limits are kept here."""
        return tuple(self.forget.limits) if self.forget else ()


Rules = Mapping[str, StageRules]
"""By the stages' names."""


def rules_of(recipe: Recipe, prepared: Prepared | None, ds_template: dict[str, Any], *,
             where: Where = nowhere, known: Known = NOTHING_MORE) -> dict[str, StageRules]:
    """Return the rules of every stage. Raises Unplannable where a repeat with more replay could not be trained."""
    return {stage.name: StageRules(mix=stage.mixed, forget=stage.forget, early_stopping=stage.early_stopping,
                                   keep_best=stage.keep_best,
                                   repeats=_repeats(recipe, number, prepared, ds_template, where, known))
            for number, stage in enumerate(recipe.stages)}


def _repeats(recipe: Recipe, number: int, prepared: Prepared | None, ds_template: dict[str, Any],
             where: Where, known: Known) -> tuple[StagePlan, ...]:
    """Return a stage's repeats, out of plans of the whole recipe: what later stages leave counts, too."""
    stage, made = recipe.stages[number], list[StagePlan]()
    tries = range(1, (stage.forget.repeats if stage.forget else 0) + 1)
    if not tries:
        return ()
    usual = plan(recipe, prepared, ds_template, where=where, known=known)
    for times in tries:
        more = with_more_replay(stage, times)
        # When evaluations fall is no matter of a repeat.
        stages = [each.model_copy(update={"early_stopping": None, "keep_best": None})
                  for each in (*recipe.stages[:number], more, *recipe.stages[number + 1:])]
        try:
            again = plan(recipe.model_copy(update={"stages": tuple(stages)}), prepared, ds_template, where=where,
                         known=known)
        except Unplannable as error:
            place = ("stages", number, "forget")
            reasons = "; ".join(f"{problem.path}: {problem.message}" for problem in error.problems)
            told = f"the stage cannot be repeated with {more.replay.share:.0%} replay: {reasons}"
            raise Unplannable([Problem(where(place), dotted(place), told)]) from None
        if (other := _changed(usual.stages[number + 1:], again.stages[number + 1:])):
            place = ("stages", number, "forget")
            told = (f"repeated with {more.replay.share:.0%} replay, the stage uses more of what max_epochs and "
                    f"max_tokens allow, and {other} could not be as planned; raise these, or repeat with less replay")
            raise Unplannable([Problem(where(place), dotted(place), told)])
        made.append(again.stages[number].model_copy(
            update={"repeat": times, "in_turn": usual.stages[number].in_turn}))
    return tuple(made)


def _changed(before: Sequence[StagePlan], after: Sequence[StagePlan]) -> str:
    """Return the first of some stages that draws on sources otherwise, now that there is less left of them."""
    pairs = zip(before, after, strict=True)
    return next((one.name for one, other in pairs
                 if (one.rows, one.weights, one.spans) != (other.rows, other.weights, other.spans)), "")


def with_more_replay(stage: Stage, times: int) -> Stage:
    """Return a stage as it is when it was repeated so often."""
    assert stage.forget is not None, "a stage without a gate is not repeated"
    replay = stage.replay
    field = "rows" if replay.tokens is None else "tokens"
    more = replay.model_copy(update={field: stage.forget.growth.of(replay.share, times)})
    return stage.model_copy(update={"replay": more})
