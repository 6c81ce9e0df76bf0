"""From a recipe and the sizes of its data to a plan: exact rows and steps, on any machine the same.

Decides weights, lengths and what cannot be trained. With prepared data the plan is exact; without, it is estimated
from the sizes in the recipe. Which row comes when is `core.mixing`; on what machines, `core.attempt_planning`.
"""

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from launcher.core.document import fingerprint
from launcher.core.errors import Problem, Unplannable
from launcher.core.intervals import parse_steps
from launcher.core.mixing import block_size, quota
from launcher.core.plan_checks import refuse_impossible
from launcher.core.recipe import Length, Recipe, Stage
from launcher.core.recipe_sources import Source
from launcher.core.run_plan import RunPlan, SegmentPlan, SourcePlan, StagePlan
from launcher.core.source_index import Prepared
from launcher.core.yaml_tree import FieldPath, dotted

Where = Callable[[FieldPath], str]


LOPSIDED = 10_000
"""Rows from one row of a source to its next in a mix in which it hardly occurs."""
FINEST = 10**9
"""Parts that a whole is cut into at most when shares become whole numbers."""


def nowhere(_: FieldPath) -> str:
    """Stand for the place of a field that was not read from a file."""
    return ""


def plan(recipe: Recipe, prepared: Prepared | None, ds_template: dict[str, Any], *, where: Where = nowhere) -> RunPlan:
    """Return the plan of a recipe, in exact grade with prepared data. Raises Unplannable with all its reasons.

    `where` tells where a field was written, for those reasons.
    """
    sources = _exact(prepared) if prepared is not None else _estimated(recipe, where)
    stages = _stages(recipe, sources)
    made = _run_plan(recipe, prepared, ds_template, sources, stages)
    refuse_impossible(made, recipe, where)
    return made


def _run_plan(recipe: Recipe, prepared: Prepared | None, ds_template: dict[str, Any], sources: dict[str, SourcePlan],
              stages: tuple[StagePlan, ...]) -> RunPlan:
    steps = sum(stage.steps for stage in stages)
    segment = SegmentPlan(index=0, first_step=1, steps=steps, sequence_length=recipe.sequence_length,
                          deepspeed=fingerprint(ds_template), trainable="adapter" if recipe.adapter else "all")
    return RunPlan(
        grade="estimated" if prepared is None else "exact", name=recipe.name, seed=recipe.seed, model=recipe.model,
        adapter=recipe.adapter, tokenizer=prepared.tokenizer if prepared else None, steps=steps,
        sequence_length=recipe.sequence_length, rows_per_step=rows_per_step(recipe),
        rows=sum(stage.rows for stage in stages), sources=sources, stages=stages, segments=(segment,),
        ds_template=ds_template, deterministic=recipe.deterministic,
        evaluate_every=None if recipe.evaluate.every is None else parse_steps(recipe.evaluate.every),
        export_dtype=recipe.export.dtype or recipe.model.precision,
    )


def rows_per_step(recipe: Recipe) -> int:
    """Return the rows of a full step: as the recipe says, or the nearest whole number for its tokens."""
    if recipe.batch.rows is not None:
        return recipe.batch.rows
    return max(1, round(Fraction(recipe.batch.tokens or 0, recipe.sequence_length)))


def _exact(prepared: Prepared) -> dict[str, SourcePlan]:
    return {name: SourcePlan(fingerprint=index.fingerprint, rows=index.train.rows, tokens=index.train.tokens,
                             supervised_tokens=index.train.supervised_tokens, holdout_rows=index.holdout.rows)
            for name, index in prepared.sources.items()}


def _estimated(recipe: Recipe, where: Where) -> dict[str, SourcePlan]:
    unknown = [("sources", name) for name, source in recipe.sources.items() if source.tokens is None]
    if unknown:
        reason = "its size is not known; run `launcher prepare` first, or say about how large it is: tokens: 5M"
        raise Unplannable([Problem(where(path), dotted(path), reason) for path in unknown])
    return {name: _guess(source, recipe.sequence_length) for name, source in recipe.sources.items()}


def _guess(source: Source, sequence_length: int) -> SourcePlan:
    """Return the size of a source that packs into full rows and is supervised throughout."""
    held = round((source.tokens or 0) * _as_written(source.holdout.share))
    if source.holdout.documents or source.holdout.path:
        held = 1  # how long those documents are is not known yet: some row
    tokens = (source.tokens or 0) - held
    return SourcePlan(fingerprint="", rows=-(-tokens // sequence_length), tokens=tokens, supervised_tokens=tokens,
                      holdout_rows=-(-held // sequence_length))


def _stages(recipe: Recipe, sources: Mapping[str, SourcePlan]) -> tuple[StagePlan, ...]:
    made: list[StagePlan] = []
    consumed: Counter[str] = Counter()
    for number, stage in enumerate(recipe.stages):
        weights = _weights(stage, recipe.stages[:number], sources)
        rows = _rows(stage, weights, sources, rows_per_step(recipe))
        before = made[-1] if made else None
        made.append(StagePlan(
            index=number, name=stage.name, first_step=before.last_step + 1 if before else 1,
            steps=-(-rows // rows_per_step(recipe)), first_row=before.first_row + before.rows if before else 0,
            rows=rows, weights=weights, block=block_size(weights), schedule=stage.schedule or recipe.schedule,
            consumed_before={name: consumed[name] for name in sources}, optimizer=stage.optimizer or recipe.optimizer,
            learning_rate=stage.learning_rate or recipe.learning_rate or 0.0,
        ))
        consumed.update(quota(rows, weights))
    return tuple(made)


def _weights(stage: Stage, earlier: tuple[Stage, ...], sources: Mapping[str, SourcePlan]) -> dict[str, int]:
    """Return whole-number weights in rows, replay included.

    A mix is in tokens and rows are not equally full, so each weight is divided by its source's mean tokens per row.
    """
    mix = {name: _as_written(weight) / mean_tokens(sources[name]) for name, weight in stage.mix.items()}
    replay = _as_written(stage.replay)
    past = sorted({name for other in earlier for name in other.mix}) if replay else []
    shares = {name: (1 - replay) * weight / sum(mix.values()) for name, weight in mix.items()}
    for name in past:
        shares[name] = shares.get(name, Fraction(0)) + replay / len(past)
    return _whole(shares)


def mean_tokens(source: SourcePlan) -> Fraction:
    """Return the mean tokens of a source's rows; 1 for a source without any, which is refused by name later."""
    return Fraction(source.tokens, source.rows) if source.rows and source.tokens else Fraction(1)


def _as_written(number: float) -> Fraction:
    """Return the decimal that a person wrote, exactly: 0.1 is a tenth, not the nearest binary number."""
    return Fraction(repr(number))


def _whole(shares: Mapping[str, Fraction]) -> dict[str, int]:
    """Return the shares as whole numbers: exactly where they are simple, else to a part in 10^9.

    Ratios of tokens to rows multiply into integers that other readers of plan.json would round anyhow.
    """
    common = min(math.lcm(*(share.denominator for share in shares.values())), FINEST)
    weights = {name: max(1, round(share * common)) for name, share in shares.items()}
    divisor = math.gcd(*weights.values())
    return {name: weight // divisor for name, weight in weights.items()}


def _rows(stage: Stage, weights: Mapping[str, int], sources: Mapping[str, SourcePlan], rows_per_step: int) -> int:
    length = stage.length
    if length.steps is not None:
        return length.steps * rows_per_step
    if length.tokens is not None:
        tokens_per_row = sum(weight * mean_tokens(sources[name]) for name, weight in weights.items())
        rows = math.ceil(length.tokens * sum(weights.values()) / tokens_per_row)
        return -(-rows // rows_per_step) * rows_per_step
    return _rows_for_epochs(length, length.of or next(iter(stage.mix)), weights, sources)


def _rows_for_epochs(length: Length, of: str, weights: Mapping[str, int], sources: Mapping[str, SourcePlan]) -> int:
    """Return the least number of rows in which the source has its epochs; the last step may be partial."""
    target = max(1, round(_as_written(length.epochs or 0) * sources[of].rows))
    total, weight = sum(weights.values()), weights[of]
    # Below the first its exact share is a whole row short, and from the last on largest remainder cannot withhold it.
    first, last = (target - 1) * total // weight, -(-target * total // weight)
    between = range(first, last + 1)
    if len(between) > LOPSIDED:
        # Nearly the least number will do here, where looking at each would take minutes.
        return between[bisect_left(between, target, key=lambda rows: quota(rows, weights)[of])]
    return next(rows for rows in between if quota(rows, weights)[of] >= target)
