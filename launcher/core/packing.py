"""Which documents share a row.

Decides by best-fit-decreasing over the whole source: the longest documents first, each into the row with the least
space that still holds it. Equal lengths and equal spaces are handled together, so a million documents take a few
thousand steps. What is in a row's tokens is `data.packed`; which rows a step takes is `core.mixing`.
"""

from bisect import bisect_left, insort
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]
_DIGIT = 0xFFFF
WINDOW = 1 << 24
"""Documents that are packed together. As full as all at once, and packing takes no more memory for more of them."""


@dataclass(frozen=True, slots=True)
class Packing:
    """Documents of row i: `order[row_offsets[i]:row_offsets[i + 1]]`, ascending. Rows go by their first document.

    Packed in order, documents stand as that says instead.
    """

    row_offsets: Numbers
    order: Numbers

    @property
    def rows(self) -> int:
        """Return how many rows there are."""
        return len(self.row_offsets) - 1


def pack(lengths: NDArray[np.integer], capacity: int) -> Packing:
    """Pack documents of these lengths into rows of at most `capacity` tokens.

    Raises ValueError for a length outside 1..capacity: what becomes of such documents is decided before.
    """
    windows = [_pack_window(np.asarray(lengths[first:first + WINDOW], dtype=np.int32), capacity)
               for first in range(0, max(1, len(lengths)), WINDOW)]
    if len(windows) == 1:
        return windows[0]
    ends = np.cumsum([window.row_offsets[-1] for window in windows])
    begins = ends - [window.row_offsets[-1] for window in windows]
    offsets = [window.row_offsets[:-1] + begin for window, begin in zip(windows, begins, strict=True)]
    order = [window.order + begin for window, begin in zip(windows, begins, strict=True)]
    return Packing(np.concatenate([*offsets, ends[-1:]]), np.concatenate(order))


def _pack_window(lengths: NDArray[np.int32], capacity: int) -> Packing:
    _refuse_misfits(lengths, capacity)
    longest_first = _order_by(capacity - lengths, capacity)
    row_of = np.empty(len(lengths), dtype=np.int32)
    spaces, begin = _Spaces(capacity), 0
    for length, count in _groups(lengths):
        row_of[longest_first[begin : begin + count]] = spaces.place(length, count)
        begin += count
    del longest_first
    return _packing(row_of, spaces.opened)


def one_per_row(lengths: NDArray[np.integer]) -> Packing:
    """Give each document a row of its own."""
    return Packing(np.arange(len(lengths) + 1, dtype=np.int64), np.arange(len(lengths), dtype=np.int64))


def pack_in_order(lengths: NDArray[np.integer], capacity: int, order: Numbers) -> Packing:
    """Fill rows with documents in the given order, each row until the next document does not fit."""
    _refuse_misfits(np.asarray(lengths, dtype=np.int32), capacity)
    ends = np.cumsum(np.asarray(lengths, dtype=np.int64)[order])
    offsets = [0]
    while offsets[-1] < len(order):
        begun = int(ends[offsets[-1] - 1]) if offsets[-1] else 0
        offsets.append(int(np.searchsorted(ends, begun + capacity, side="right")))
    return Packing(np.array(offsets, dtype=np.int64), order)


class _Spaces:
    """Rows by the space they have left."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._rows: dict[int, list[NDArray[np.int32]]] = {}
        self._sorted: list[int] = []
        self.opened = 0

    def place(self, length: int, count: int) -> NDArray[np.int32]:
        """Return the row of each of `count` documents of one length."""
        parts: list[NDArray[np.int32]] = []
        while count:
            space = self._least(length)
            # A row stays the best fit until it holds no more of this length, so it is filled at once.
            each = space // length
            rows = self._take(space, -(-count // each))
            placed = min(count, len(rows) * each)
            parts.append(np.repeat(rows, each)[:placed])
            filled, rest = divmod(placed, each)
            self._put(space - each * length, rows[:filled])
            self._put(space - rest * length, rows[filled:])
            count -= placed
        return np.concatenate(parts)

    def _least(self, length: int) -> int:
        """Return the least space of an open row that holds `length`, or that of a new row."""
        at = bisect_left(self._sorted, length)
        return self._sorted[at] if at < len(self._sorted) else self._capacity

    def _take(self, space: int, wanted: int) -> NDArray[np.int32]:
        """Remove up to `wanted` rows with this space; open them if there are none."""
        stack = self._rows.get(space)
        if stack is None:
            self.opened += wanted
            return np.arange(self.opened - wanted, self.opened, dtype=np.int32)
        rows = stack.pop()
        if len(rows) > wanted:
            stack.append(rows[wanted:])
        elif not stack:
            del self._rows[space], self._sorted[bisect_left(self._sorted, space)]
        return rows[:wanted]

    def _put(self, space: int, rows: NDArray[np.int32]) -> None:
        if not space or not len(rows):
            return
        if space not in self._rows:
            self._rows[space] = []
            insort(self._sorted, space)
        self._rows[space].append(rows)


def _refuse_misfits(lengths: NDArray[np.int32], capacity: int) -> None:
    if len(lengths) and not 1 <= lengths.min() <= lengths.max() <= capacity:
        span = f"{lengths.min()}..{lengths.max()}"
        raise ValueError(f"lengths are in {span}; rows hold documents of 1..{capacity} tokens")


def _groups(lengths: NDArray[np.int32]) -> list[tuple[int, int]]:
    """Return each length that occurs and how often, the longest first."""
    histogram = np.bincount(lengths) if len(lengths) else np.zeros(0, dtype=np.int64)
    occurring = np.flatnonzero(histogram)[::-1]
    return list(zip(occurring.tolist(), histogram[occurring].tolist(), strict=True))


def _order_by(keys: NDArray[np.integer], largest: int) -> Numbers:
    """Return the stable ascending order of keys from 0 to `largest`.

    By digits of 16 bits, the last ones first: numpy sorts those in linear time, five times as fast as longer numbers.
    """
    order = np.argsort((keys & _DIGIT).astype(np.uint16), kind="stable")
    shift = 16
    while largest >> shift:
        digits = ((keys >> shift) & _DIGIT).astype(np.uint16)
        order = order[np.argsort(digits[order], kind="stable")]
        shift += 16
    return order


def _packing(row_of: NDArray[np.int32], rows: int) -> Packing:
    """Number the rows by their first document, and list each row's documents."""
    first = np.full(rows, len(row_of), dtype=np.int64)
    np.minimum.at(first, row_of, np.arange(len(row_of), dtype=np.int64))
    number = np.empty(rows, dtype=np.int32)
    number[_order_by(first, len(row_of))] = np.arange(rows, dtype=np.int32)
    row_of = number[row_of]
    offsets = np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(np.bincount(row_of, minlength=rows))))
    return Packing(offsets, _order_by(row_of, rows))
