"""Does a plan fit on a cluster, and which shipped DeepSpeed configuration is faster and fits, too?

Pure. Micro-batches are halved until one fits. What would do instead is `core.memory_changes`.
"""

from collections.abc import Mapping
from typing import Any, Literal

from launcher.core.architectures import ModelFacts
from launcher.core.dealing import micro_batches
from launcher.core.document import Document
from launcher.core.memory import Memory
from launcher.core.memory_changes import what_would_do
from launcher.core.memory_try import BY_SPEED, Place, Try, rank, sizes
from launcher.core.run_plan import RunPlan
from launcher.core.trained_parameters import trained_at_most

Templates = Mapping[str, dict[str, Any]]
"""DeepSpeed templates by the names of the shipped ones."""


class Fit(Document):
    """What came of it."""

    fits: bool | None
    """None: the memory of the machines is not known."""
    micro_batch: int
    accumulation: int
    memory: Memory
    """With that micro-batch."""
    gpu_bytes: int
    """Of each GPU there is; 0: not known, or none."""
    faster: str | None = None
    """The fastest shipped configuration that fits with micro-batches as large, where that is not the plan's own."""
    stage: str = ""
    """The one that this is of, where stages differ in rows, batch or configuration: the one that needs most."""
    changes: tuple[str, ...] = ()
    """Of a plan that does not fit: the smallest change of each kind that makes it fit, as a person would write it.
    First those that keep the arithmetic, then more machines, then another run."""


def fit(plan: RunPlan, facts: ModelFacts, place: Place, *, wanted: int | Literal["auto"],
        templates: Templates) -> Fit | None:
    """Return whether a plan fits on machines, and how; None for an adapter whose size is not known.

    Of stages that differ, the one that needs most is told, first of all one that does not fit.
    """
    kinds = {(plan.length_of(stage), plan.batch_of(stage), stage.deepspeed,
              trained_at_most(plan.as_of(stage), facts)): stage for stage in plan.stages}
    found = [(_fit(plan.as_of(stage), facts, place, wanted, templates), stage.name) for stage in kinds.values()]
    told = [each.model_copy(update={"stage": name if len(kinds) > 1 else ""}) for each, name in found if each]
    return max(told, key=lambda each: (each.fits is False, each.memory.gpu_bytes, each.memory.host_bytes), default=None)


def _fit(plan: RunPlan, facts: ModelFacts, place: Place, wanted: int | Literal["auto"],
         templates: Templates) -> Fit | None:
    given = Try(plan, place, facts, wanted)
    rows = given.fitting()
    smallest = sizes(plan.rows_per_step, wanted, place.workers)[-1]
    needed = given.needed(rows or smallest)
    if needed is None:
        return None
    return Fit(
        gpu_bytes=place.gpu_bytes, fits=rows is not None if place.known else None,
        micro_batch=rows or smallest, memory=needed,
        accumulation=micro_batches(plan.rows_per_step, place.workers, rows or smallest),
        faster=_faster(given, rows, templates) if rows is not None and place.known else None,
        changes=tuple(what_would_do(given, templates)) if rows is None else ())


def _faster(given: Try, rows: int, templates: Templates) -> str | None:
    """Return the fastest shipped configuration that fits with micro-batches as large; None if it is the plan's own."""
    for name in BY_SPEED[:rank(given.plan)]:
        if name in templates and (given.with_plan(ds_template=templates[name]).fitting() or 0) >= rows:
            return name
    return None
