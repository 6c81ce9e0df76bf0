"""From a recipe and the sizes of its data to a plan: exact rows and steps, on any machine the same.

Decides weights, lengths and what cannot be trained. With prepared data the plan is exact; without, it is estimated
from the sizes in the recipe. Which row comes when is `core.mixing`; on what machines, `core.attempt_planning`.
"""

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from launcher.core.document import fingerprint
from launcher.core.errors import Problem, Unplannable
from launcher.core.intervals import parse_steps
from launcher.core.known import Known
from launcher.core.mixing import SMALLEST_BLOCK, block_size
from launcher.core.plan_checks import refuse_impossible
from launcher.core.policies import layers_asked, lengths_of, own_length, refuse_policies, stage_policies
from launcher.core.recipe import Batch, Recipe, Stage
from launcher.core.recipe_sources import FewShot, Source
from launcher.core.run_plan import RunPlan, SourcePlan, StagePlan
from launcher.core.segments import segments_of
from launcher.core.source_index import Prepared, SourceIndex
from launcher.core.source_limits import Limits, consumed
from launcher.core.stage_mix import Sources, StageMix, as_written, mix_of
from launcher.core.stage_rows import StageStarved, rows_of_stage
from launcher.core.yaml_tree import FieldPath, dotted

Where = Callable[[FieldPath], str]
NOTHING_MORE = Known()


def nowhere(_: FieldPath) -> str:
    """Stand for the place of a field that was not read from a file."""
    return ""


def plan(recipe: Recipe, prepared: Prepared | None, ds_template: dict[str, Any], *, where: Where = nowhere,
         known: Known = NOTHING_MORE) -> RunPlan:
    """Return the plan of a recipe, in exact grade with prepared data. Raises Unplannable with all its reasons.

    `where` tells where a field was written, for those reasons.
    """
    sources = _exact(prepared, recipe) if prepared is not None else _estimated(recipe, where)
    lengths = {length: _at_length(recipe, prepared, length, names) for length, names in lengths_of(recipe).items()}
    refuse_policies(recipe, known, where)
    stages = _stages(recipe, sources, lengths, where, known, fingerprint(ds_template))
    made = _run_plan(recipe, prepared, ds_template, sources, stages, lengths, known)
    refuse_impossible(made, recipe, where)
    return made


def _run_plan(recipe: Recipe, prepared: Prepared | None, ds_template: dict[str, Any], sources: dict[str, SourcePlan],
              stages: tuple[StagePlan, ...], lengths: dict[int, dict[str, SourcePlan]], known: Known) -> RunPlan:
    steps = sum(stage.steps for stage in stages)
    layers = layers_asked(recipe, known)
    own = [known.templates[stage.deepspeed] for stage in recipe.stages if stage.deepspeed is not None]
    return RunPlan(
        grade="estimated" if prepared is None else "exact", name=recipe.name, seed=recipe.seed, model=recipe.model,
        adapter=recipe.adapter, tokenizer=prepared.tokenizer if prepared else None, steps=steps,
        sequence_length=recipe.sequence_length, rows_per_step=rows_per_step(recipe),
        rows=sum(stage.rows for stage in stages), sources=sources, stages=stages, lengths=lengths, layers=layers,
        segments=segments_of(stages, sequence_length=recipe.sequence_length, deepspeed=fingerprint(ds_template),
                             adapter=recipe.adapter is not None, layers=layers,
                             per_stage=recipe.adapter is not None and recipe.adapter.per_stage is not None),
        ds_templates={name: each for each in own if (name := fingerprint(each)) != fingerprint(ds_template)},
        ds_template=ds_template, deterministic=recipe.deterministic,
        evaluate_every=None if recipe.evaluate.every is None else parse_steps(recipe.evaluate.every),
        export_dtype=recipe.export.dtype or recipe.model.precision,
    )


def rows_per_step(recipe: Recipe) -> int:
    """Return the rows of a full step: as the recipe says, or the nearest whole number for its tokens."""
    return _rows_of_batch(recipe.batch, recipe.sequence_length)


def _rows_of_batch(batch: Batch, sequence_length: int) -> int:
    if batch.rows is not None:
        return batch.rows
    return max(1, round(Fraction(batch.tokens or 0, sequence_length)))


def _exact(prepared: Prepared, recipe: Recipe) -> dict[str, SourcePlan]:
    counted = _counted(recipe)
    return {name: _source(index, counted=name in counted) for name, index in prepared.sources.items()}


def _source(index: SourceIndex, *, counted: bool) -> SourcePlan:
    return SourcePlan(fingerprint=index.fingerprint, rows=index.train.rows, tokens=index.train.tokens,
                      supervised_tokens=index.train.supervised_tokens, holdout_rows=index.holdout.rows,
                      documents=index.train.documents if counted else None)


def _at_length(recipe: Recipe, prepared: Prepared | None, length: int, names: Sequence[str]) -> dict[str, SourcePlan]:
    """Return sources at a length that is not the run's. Their sizes are known, if the run's are."""
    counted = _counted(recipe)
    if prepared is None:
        return {name: _guess(recipe.sources[name], length, counted=name in counted) for name in names}
    return {name: _source(prepared.lengths[length][name], counted=name in counted) for name in names}


def _counted(recipe: Recipe) -> set[str]:
    """Return the sources whose documents are counted: by weights in examples."""
    return {name for stage in recipe.stages if (stage.weights or recipe.weights) == "examples" for name in stage.mixed}


def _estimated(recipe: Recipe, where: Where) -> dict[str, SourcePlan]:
    unknown = [("sources", name) for name, source in recipe.sources.items() if source.tokens is None]
    if unknown:
        reason = "its size is not known; run `launcher prepare` first, or say about how large it is: tokens: 5M"
        raise Unplannable([Problem(where(path), dotted(path), reason) for path in unknown])
    counted = _counted(recipe)
    uncounted = [("sources", name) for name, source in recipe.sources.items()
                 if name in counted and _guess_documents(source) is None]
    if uncounted:
        reason = ("weights count its examples, whose number is not known; run `launcher prepare` first, or say about "
                  "how many there are: documents: 10k")
        raise Unplannable([Problem(where(path), dotted(path), reason) for path in uncounted])
    return {name: _guess(source, recipe.sequence_length, counted=name in counted)
            for name, source in recipe.sources.items()}


def _guess(source: Source, sequence_length: int, *, counted: bool) -> SourcePlan:
    """Return the size of a source that packs into full rows and is supervised throughout."""
    held = round((source.tokens or 0) * as_written(source.holdout.share))
    if source.holdout.documents or source.holdout.path:
        held = 1  # how long those documents are is not known yet: some row
    tokens = (source.tokens or 0) - held
    if source.few_shot:
        tokens = min(tokens, _guess_few(source, source.few_shot, tokens, sequence_length))
    return SourcePlan(fingerprint="", rows=-(-tokens // sequence_length), tokens=tokens, supervised_tokens=tokens,
                      holdout_rows=-(-held // sequence_length), documents=_guess_documents(source) if counted else None)


def _guess_few(source: Source, few: FewShot, tokens: int, sequence_length: int) -> int:
    """Return the tokens of few documents: by the mean where their number is said, else as if each filled a row."""
    if source.documents is None:
        return few.examples * sequence_length
    return max(1, tokens * few.examples // source.documents)


def _guess_documents(source: Source) -> int | None:
    return source.documents if source.few_shot is None else source.few_shot.examples


def _stages(recipe: Recipe, sources: Sources, lengths: Mapping[int, Sources], where: Where, known: Known,
            template: str) -> tuple[StagePlan, ...]:
    made: list[StagePlan] = []
    limits = Limits(recipe, sources, lengths)
    for number, stage in enumerate(recipe.stages):
        own = own_length(recipe, stage)
        here = sources if own is None else lengths[own]
        problems = [*limits.problems(made, own)]
        if problems:
            raise Unplannable([Problem(where(path), dotted(path), message) for path, message in problems])
        mix = mix_of(stage, recipe.stages[:number], here, recipe.weights, limits.used_up(made, own))
        try:
            made.append(_stage(recipe, stage, mix, here, limits.left(made, own), made).model_copy(
                update=stage_policies(recipe, stage, known, template)))
        except StageStarved as starved:
            path = ("stages", number, *starved.field)
            raise Unplannable([Problem(where(path), dotted(path), str(starved))]) from None
    return tuple(made)


def _stage(recipe: Recipe, stage: Stage, mix: StageMix, sources: Sources, left: Mapping[str, int],
           made: list[StagePlan]) -> StagePlan:
    ordered = tuple(name for name in sorted(mix.weights) if recipe.sources[name].order is not None)
    own, length = own_length(recipe, stage), stage.sequence_length or recipe.sequence_length
    batch = _rows_of_batch(stage.batch or recipe.batch, length)
    planned = rows_of_stage(stage, mix, sources, batch, left, short_blocks=bool(ordered))
    before = made[-1] if made else None
    return StagePlan(
        index=len(made), name=stage.name, first_step=before.last_step + 1 if before else 1,
        steps=-(-planned.rows // batch), first_row=before.first_row + before.rows if before else 0,
        rows=planned.rows, weights=mix.weights, block=SMALLEST_BLOCK if planned.spans else block_size(mix.weights),
        schedule=stage.schedule or recipe.schedule, consumed_before=consumed(made, sources, own),
        optimizer=stage.optimizer or recipe.optimizer,
        learning_rate=stage.learning_rate or recipe.learning_rate or 0.0, spans=planned.spans, ordered=ordered,
        in_turn=stage.early_stopping is not None or stage.keep_best is not None, sequence_length=own,
        rows_per_step=None if batch == rows_per_step(recipe) else batch,
    )
