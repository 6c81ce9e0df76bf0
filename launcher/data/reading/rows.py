"""What every reader yields: rows in batches, each able to cross to another process before it is parsed.

Decides what a row is, how messages name it and how many make a batch. Opening and splitting files is each format's own
module; what a row must hold is `rendering.forms`.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

T = TypeVar("T")

# Enough to keep all cores tokenizing, few enough that progress is seen and memory stays small.
ROWS_PER_BATCH = 512
BYTES_PER_BATCH = 4 << 20
LARGEST_ROW_BYTES = 64 << 20
"""A row beyond this is refused: whatever it is, it is no document to train on."""
CONVERT = "convert the file to UTF-8, for example with iconv -f WINDOWS-1252 -t UTF-8"
"""Most files of another encoding come from Windows."""
TOO_LARGE = f"is larger than {LARGEST_ROW_BYTES >> 20} MiB; remove the row, or split it into several"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a source."""

    index: int
    """Position in the source as given, over all its files, from 0; blank lines are not rows."""
    place: str
    """`file:row N`, N from 1 as an editor or a table viewer counts."""
    columns: dict[str, Any]


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be read."""

    index: int
    place: str
    problem: str
    """What is wrong and what to do about it."""


class RowBatch(Protocol):
    """Some rows of one file, in order, as they were read: light to make, and picklable, so that worker processes can
    share the parsing."""

    @property
    def first(self) -> int:
        """Return the index of the first row in the source."""
        ...

    @property
    def done(self) -> int:
        """Return the bytes of the source's files that are read when this batch is: for progress."""
        ...

    def __len__(self) -> int:
        """Return how many rows there are."""
        ...

    def rows(self) -> Iterator[Row | BadRow]:
        """Parse the rows."""
        ...


def in_batches(rows: Iterable[T], size_of: Callable[[T], int]) -> Iterator[tuple[T, ...]]:
    """Yield rows as they were read, as many together as make a batch."""
    batch: list[T] = []
    size = 0
    for row in rows:
        batch.append(row)
        size += size_of(row)
        if len(batch) == ROWS_PER_BATCH or size >= BYTES_PER_BATCH:
            yield tuple(batch)
            batch, size = [], 0
    if batch:
        yield tuple(batch)


def place_of(path: str, number: int) -> str:
    """Return how messages name a row."""
    return f"{path}:row {number}"
