"""What a plan comes to, for people: rows, tokens and epochs of each source in each stage, and waste on a cluster.

Decides nothing about a run; everything here follows from the plan.
"""

from launcher.core.dealing import zero_weight_share
from launcher.core.document import Document
from launcher.core.mixing import quota
from launcher.core.run_plan import RunPlan, StagePlan


class SourceForecast(Document):
    """A source's part in a stage."""

    rows: int
    tokens: int
    """Without padding, by the source's mean."""
    epochs: float
    """Of this stage alone."""
    share: float
    """Of the stage's tokens."""


class StageForecast(Document):
    """What a stage comes to."""

    name: str
    steps: int
    rows: int
    tokens: int
    learning_rate: float
    sources: dict[str, SourceForecast]


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


def forecast(plan: RunPlan) -> Forecast:
    """Return what a plan comes to."""
    stages = tuple(_stage(plan, stage) for stage in plan.stages)
    return Forecast(steps=plan.steps, rows=plan.rows, tokens=sum(stage.tokens for stage in stages), stages=stages)


def waste(plan: RunPlan, world_size: int, micro_batch: int) -> Waste:
    """Return how much of a full step on this many workers computes nothing."""
    rows = plan.rows_per_step
    places = -(-rows // world_size) * world_size
    return Waste(world_size=world_size, micro_batch=micro_batch, idle=1 - rows / places,
                 empty=zero_weight_share(rows, world_size, micro_batch),
                 nearest_batch=max(1, (rows + world_size // 2) // world_size) * world_size)


def _stage(plan: RunPlan, stage: StagePlan) -> StageForecast:
    counts = quota(stage.rows, stage.weights)
    tokens = {name: rows * plan.sources[name].tokens // max(1, plan.sources[name].rows)
              for name, rows in counts.items()}
    total = sum(tokens.values())
    sources = {name: SourceForecast(rows=rows, tokens=tokens[name], epochs=rows / max(1, plan.sources[name].rows),
                                    share=tokens[name] / max(1, total)) for name, rows in counts.items()}
    return StageForecast(name=stage.name, steps=stage.steps, rows=stage.rows, tokens=total,
                         learning_rate=stage.learning_rate, sources=sources)
