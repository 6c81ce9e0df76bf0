"""What a plan comes to, for people: rows, tokens and epochs of each source in each stage, and waste on a cluster.

Decides nothing about a run; everything here follows from the plan.
"""

from itertools import accumulate

from launcher.core.dealing import zero_weight_share
from launcher.core.document import Document
from launcher.core.mix_spans import weights_at
from launcher.core.mixing import rows_by_source
from launcher.core.run_plan import RunPlan, SourcePlan, StagePlan


class SourceForecast(Document):
    """A source's part in a stage."""

    rows: int
    tokens: int
    """Without padding, by the source's mean: exact for whole epochs, and not for a part of a curriculum."""
    epochs: float
    """Of this stage alone."""
    share: float
    """Of the stage's tokens."""
    begin: float
    """Share of the rows at the stage's first one."""
    end: float
    """At its last one: another where the mix changes or a source is used up."""


class SourceTotal(Document):
    """What the whole run sees of a source."""

    rows: int
    tokens: int
    """Without padding, by the source's mean."""
    epochs: float


class StageForecast(Document):
    """What a stage comes to."""

    name: str
    steps: int
    rows: int
    tokens: int
    learning_rate: float
    sources: dict[str, SourceForecast]
    used_up: dict[str, int]
    """Sources that a limit takes out of the mix, and after how many rows of the stage."""


class Waste(Document):
    """What an uneven number of workers costs a full step: every rank takes as long as the one with most rows."""

    world_size: int
    micro_batch: int
    empty: float
    """Share of the micro-batches that carry no row, computed because all ranks take part in every collective."""
    idle: float
    """Share of the workers' time that computes no row."""
    nearest_batch: int
    """Rows of the batch nearest to the recipe's that wastes nothing."""


class Forecast(Document):
    """What a run comes to."""

    steps: int
    rows: int
    tokens: int
    stages: tuple[StageForecast, ...]
    sources: dict[str, SourceTotal]


def forecast(plan: RunPlan) -> Forecast:
    """Return what a plan comes to."""
    stages = tuple(_stage(plan, stage) for stage in plan.stages)
    totals = {name: _total(plan, source, [stage.sources[name] for stage in stages if name in stage.sources])
              for name, source in plan.sources.items()}
    return Forecast(steps=plan.steps, rows=plan.rows, tokens=sum(stage.tokens for stage in stages), stages=stages,
                    sources=totals)


def waste(plan: RunPlan, world_size: int, micro_batch: int) -> Waste:
    """Return how much of a full step on this many workers computes nothing."""
    rows = max(map(plan.batch_of, plan.stages))
    places = -(-rows // world_size) * world_size
    return Waste(world_size=world_size, micro_batch=micro_batch, idle=1 - rows / places,
                 empty=zero_weight_share(rows, world_size, micro_batch),
                 nearest_batch=max(1, (rows + world_size // 2) // world_size) * world_size)


def _total(plan: RunPlan, source: SourcePlan, parts: list[SourceForecast]) -> SourceTotal:
    rows = sum(part.rows for part in parts)
    # Rows of another length are other rows; an epoch is one at each.
    epochs = sum(part.epochs for part in parts) if plan.lengths else rows / max(1, source.rows)
    return SourceTotal(rows=rows, tokens=sum(part.tokens for part in parts), epochs=epochs)


def _part(weights: dict[str, int], name: str) -> float:
    return weights.get(name, 0) / sum(weights.values())


def _used_up(stage: StagePlan) -> dict[str, int]:
    """Return the sources that are in one span and not in the next, and the rows up to there."""
    ends = list(accumulate(span.rows for span in stage.spans))
    return {name: end for span, after, end in zip(stage.spans, stage.spans[1:], ends, strict=False)
            for name in span.weights if name not in after.weights}


def _stage(plan: RunPlan, stage: StagePlan) -> StageForecast:
    counts, sizes = rows_by_source(stage), plan.sources_of(stage)
    tokens = {name: rows * sizes[name].tokens // max(1, sizes[name].rows)
              for name, rows in counts.items()}
    total = sum(tokens.values())
    last = weights_at(stage.spans[-1], stage.spans[-1].rows) if stage.spans else stage.weights
    sources = {name: SourceForecast(rows=rows, tokens=tokens[name], epochs=rows / max(1, sizes[name].rows),
                                    share=tokens[name] / max(1, total), begin=_part(stage.weights, name),
                                    end=_part(last, name)) for name, rows in counts.items()}
    # Of a stage that has ended early, what it has done: its sources' rows are counted so, too.
    steps = stage.last_step - stage.first_step + 1
    return StageForecast(name=stage.name, steps=steps, rows=stage.rows_done, tokens=total,
                         learning_rate=stage.learning_rate, sources=sources, used_up=_used_up(stage))
