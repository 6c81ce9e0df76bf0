"""What would make a plan fit that does not: changes in the order in which a person would try them.

Pure. Those that keep the arithmetic come first, then more machines, then another run.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from launcher.core.memory_try import BY_SPEED, Try, rank, sizes
from launcher.core.recipe import Adapter

SHORTEST_ROW = 512
MOST_NODES = 64

Templates = Mapping[str, dict[str, Any]]


def what_would_do(given: Try, templates: Templates) -> Iterator[str]:
    """Yield the smallest change of each kind that makes a plan fit: same arithmetic, more machines, another run."""
    here = list(_same_arithmetic(given, templates))
    for kind in (here, list(_more_nodes(given, here)), list(_another_run(given, here))):
        yield from next(((said,) for said, changed in kind if changed.fitting() is not None), ())


def _same_arithmetic(given: Try, templates: Templates) -> Iterator[tuple[str, Try]]:
    for rows in sizes(given.plan.rows_per_step, "auto", given.place.workers):
        if isinstance(given.wanted, int) and rows < given.wanted:
            yield f"micro_batch: {rows}", replace(given, wanted=rows)
    given = replace(given, wanted="auto")
    slower = _slower(given, templates)
    yield from slower("", given, 1)
    if not given.plan.model.gradient_checkpointing:
        said = "model.gradient_checkpointing: true"
        recomputed = given.with_plan(model=given.plan.model.model_copy(update={"gradient_checkpointing": True}))
        yield said, recomputed
        yield from slower(f"{said} and ", recomputed, 1)
        yield from slower("", given, len(BY_SPEED))
        yield from slower(f"{said} and ", recomputed, len(BY_SPEED))
    else:
        yield from slower("", given, len(BY_SPEED))


def _slower(given: Try, templates: Templates) -> Callable[[str, Try, int], Iterator[tuple[str, Try]]]:
    """Return what yields the configurations that need less of a GPU than the plan's own, fastest first."""
    # All of them are of ZeRO-3, which is refused with compiled layers.
    slower = () if given.plan.model.speed.compile else BY_SPEED[rank(given.plan) + 1:]
    names = [name for name in slower if name in templates]

    def of(said: str, tried: Try, upto: int) -> Iterator[tuple[str, Try]]:
        for name in names:
            if BY_SPEED.index(name) <= upto:
                yield f"{said}deepspeed: {name}", tried.with_plan(ds_template=templates[name])

    return of


def _more_nodes(given: Try, here: list[tuple[str, Try]]) -> Iterator[tuple[str, Try]]:
    """Yield more machines, by themselves and with each change that keeps the arithmetic."""
    for with_it, tried in (("", given), *((f" with {said}", changed) for said, changed in here)):
        for nodes in range(given.place.nodes + 1, MOST_NODES + 1):
            place = replace(given.place, nodes=nodes, workers=nodes * given.place.workers_per_node)
            yield f"cluster.nodes: {nodes}{with_it}", replace(tried, place=place, wanted="auto")


def _another_run(given: Try, here: list[tuple[str, Try]]) -> Iterator[tuple[str, Try]]:
    """Yield what changes what is trained, by itself and with each change that keeps the arithmetic."""
    for with_it, tried in (("", given), *((f" with {said}", changed) for said, changed in here)):
        length = given.plan.sequence_length // 2
        while length >= SHORTEST_ROW:
            rows = given.plan.rows_per_step * given.plan.sequence_length // length
            yield (f"sequence_length: {length}{with_it}, in a new run",
                   tried.with_plan(sequence_length=length, rows_per_step=rows))
            length //= 2
        if given.plan.adapter is None:
            yield f"adapter: {{rank: 16}}{with_it}, in a new run", tried.with_plan(adapter=Adapter())
