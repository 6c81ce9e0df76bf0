"""Dealing the rows of a step to data-parallel ranks and micro-batches.

Decides which rank computes which rows, and nothing about which rows a step has (`core.mixing`). All ranks get the same
number of micro-batches, because each takes part in every collective; where rows run out a micro-batch is empty and the
worker computes a row of weight zero in its place.
"""

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import TypeVar

Row = TypeVar("Row")
MicroBatch = tuple[Row, ...]


def _cut(total: int, parts: int) -> list[int]:
    """Return the borders that cut `total` into `parts` as even as whole numbers allow, larger parts first."""
    base, more = divmod(total, parts)
    return list(accumulate((base + (part < more) for part in range(parts)), initial=0))


def micro_batches(rows: int, data_parallel: int, micro_batch: int) -> int:
    """Return how many micro-batches each rank computes for a step of `rows` rows: at least one."""
    return max(1, -(-rows // (data_parallel * micro_batch)))


def deal(rows: Sequence[Row], data_parallel: int, micro_batch: int) -> tuple[tuple[MicroBatch[Row], ...], ...]:
    """Return, for each rank, its micro-batches of at most `micro_batch` rows, in the order of the rows."""
    count = micro_batches(len(rows), data_parallel, micro_batch)
    shares = [rows[low:high] for low, high in pairwise(_cut(len(rows), data_parallel))]
    return tuple(
        tuple(tuple(share[low:high]) for low, high in pairwise(_cut(len(share), count))) for share in shares
    )


def zero_weight_share(rows: int, data_parallel: int, micro_batch: int) -> float:
    """Return the share of a step's micro-batches that carry no row: the waste of an uneven world size."""
    dealt = deal(range(rows), data_parallel, micro_batch)
    batches = [batch for rank in dealt for batch in rank]
    return sum(not batch for batch in batches) / len(batches)
