"""Which row of which source is the n-th row of a stage: arithmetic, not iteration.

Decides the shares of each source and the order of rows, from the plan alone. So the data state of a run is a small
cursor, and any number of ranks sees the same rows. How many rows a stage has is `core.planning`; the shares of a mix
that does not stay the same are `core.mix_spans`; how the rows of a step are dealt to ranks is `core.dealing`.
"""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate
from typing import Any, NamedTuple

from launcher.core.mix_spans import counts_in
from launcher.core.permutation import bijection
from launcher.core.run_plan import StagePlan

SMALLEST_BLOCK = 64
"""Rows: below this a block's shuffle hardly shuffles."""

@dataclass(frozen=True, slots=True)
class RowAddress:
    """One packed row of a prepared source."""

    source: str
    epoch: int
    """How often the source has been seen whole before this row, over all stages."""
    index: int
    """The row in the source, from 0."""


@dataclass(frozen=True, slots=True)
class _Shares:
    """A stage, known by what decides its shares: a key that costs less than the stage's own would."""

    known_by: tuple[Any, ...]
    stage: StagePlan = field(compare=False)


class _Block(NamedTuple):
    """Rows [start, start + size) of a stage, and how they are shared out."""

    start: int
    size: int
    sources: tuple[str, ...]
    bounds: tuple[int, ...]
    """Where each source's part of the block ends, before the shuffle."""
    begun: tuple[int, ...]
    """Rows of each source in the stage before the block."""


def quota(rows: int, weights: Mapping[str, int]) -> dict[str, int]:
    """Return how many of a stage's first `rows` rows each source has: largest remainder, in exact integers.

    Equal remainders go by name, so the order in which a recipe lists its sources does not matter.
    """
    total = sum(weights.values())
    counts = {source: rows * weight // total for source, weight in weights.items()}
    by_remainder = sorted(weights, key=lambda source: (-(rows * weights[source] % total), source))
    for source in by_remainder[: rows - sum(counts.values())]:
        counts[source] += 1
    return counts


def block_size(weights: Mapping[str, int]) -> int:
    """Return over how many rows the shares are kept: enough that each source has at least one row.

    Largest remainder can take a row back when the whole grows by less than that (the Alabama paradox); once each
    ideal share grows by one or more between two block ends, its rounding cannot shrink.
    """
    return max(SMALLEST_BLOCK, -(-sum(weights.values()) // min(weights.values())))


def rows_by_source(stage: StagePlan, rows: int | None = None) -> dict[str, int]:
    """Return how many of a stage's first rows, or of all that it does, each source has.

    Inside a block this is what the weights say; what was seen of a stage that has ended is known, see `seen_in`.
    """
    if rows is None and stage.cut and stage.cut.seen:
        return dict(stage.cut.seen)
    rows = stage.rows_done if rows is None else rows
    return counts_in(stage, rows) if stage.spans else quota(rows, stage.weights)


def seen_in(stage: StagePlan, rows: int, seed: int) -> dict[str, int]:
    """Return how many of a stage's first rows each source has as they come, inside a block too."""
    number = _number(stage, rows)
    block = _block(_shares(stage), stage.rows, stage.block, number)
    counts, key = dict(zip(block.sources, block.begun, strict=True)), _key(stage, number, seed)
    for row in range(rows - block.start):
        counts[block.sources[bisect_right(block.bounds, bijection(row, block.size, key))]] += 1
    return counts


def locate(stage: StagePlan, row: int, lengths: Mapping[str, int], seed: int) -> RowAddress:
    """Return the address of a stage's row (from 0 in the stage), given how many rows each source has."""
    if not 0 <= row < stage.rows:
        raise IndexError(f"row {row} is not in stage {stage.name}, which has {stage.rows}")
    number = _number(stage, row)
    block, key = _block(_shares(stage), stage.rows, stage.block, number), _key(stage, number, seed)
    place = bijection(row - block.start, block.size, key)
    part = next(i for i, bound in enumerate(block.bounds) if place < bound)
    source = block.sources[part]
    offset = place - (block.bounds[part - 1] if part else 0)
    if stage.in_turn or source in stage.ordered:
        offset = _in_order(block.bounds, key, block.size)[row - block.start]
    count = stage.consumed_before.get(source, 0) + block.begun[part] + offset
    return _row_of_source(source, count, lengths, seed, shuffled=source not in stage.ordered)


def _number(stage: StagePlan, row: int) -> int:
    """Return which block a row is in. A shorter last one joins the one before it: alone its shares could shrink, see
    `block_size`."""
    return min(row // stage.block, max(1, stage.rows // stage.block) - 1)


def _key(stage: StagePlan, number: int, seed: int) -> bytes:
    return f"block {seed} {stage.index} {number}".encode()


def _row_of_source(source: str, count: int, lengths: Mapping[str, int], seed: int, *, shuffled: bool) -> RowAddress:
    epoch, position = divmod(count, lengths[source])
    if not epoch and not shuffled:
        return RowAddress(source, epoch, position)
    return RowAddress(source, epoch, bijection(position, lengths[source], f"epoch {seed} {epoch} {source}".encode()))


@lru_cache(maxsize=64)
def _in_order(bounds: tuple[int, ...], key: bytes, size: int) -> tuple[int, ...]:
    """Return for each row of a block how many of its source's rows come before it in the block."""
    seen, found = [0] * len(bounds), list[int]()
    for row in range(size):
        part = bisect_right(bounds, bijection(row, size, key))
        found.append(seen[part])
        seen[part] += 1
    return tuple(found)


def _shares(stage: StagePlan) -> _Shares:
    if not stage.spans:
        return _Shares(tuple(sorted(stage.weights.items())), stage)
    return _Shares(tuple((span.rows, span.over, *span.weights.items(), *(span.end or {}).items())
                         for span in stage.spans), stage)


@lru_cache(maxsize=256)
def _block(shares: _Shares, rows: int, block: int, number: int) -> _Block:
    start = number * block
    end = rows if rows - start < 2 * block else start + block
    before, after = rows_by_source(shares.stage, start), rows_by_source(shares.stage, end)
    sources = tuple(sorted(after))
    bounds = tuple(accumulate(after[source] - before[source] for source in sources))
    return _Block(start, end - start, sources, bounds, tuple(before[source] for source in sources))
