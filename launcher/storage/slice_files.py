"""One rank's file of raw bytes: buffers written as they are, hashed block by block, and read back in any parts.

Decides block size and layout on disk; what the bytes mean is `core.manifest`, where files lie `storage.checkpoints`.
A reader touches only the blocks that hold what it wants, wherever the file lies, and checks each before it uses a byte
of it.
"""

import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import xxhash

from launcher.core.manifest import Area, FileIndex
from launcher.storage.sources import Source

SMALLEST_BLOCK, LARGEST_BLOCK = 4 << 10, 1 << 20
BLOCKS_PER_SLICE, MOST_BLOCKS = 64, 1 << 18
"""Another number of ranks cuts slices elsewhere, and reads whole blocks at each cut: with as few as four in a slice an
8B model's would be two fifths more than what is wanted. A digest takes 35 bytes of the index."""
CHUNK = 8 << 20
"""Bytes written or read at once: a whole number of blocks."""
SYNCED = 64 << 20
"""Bytes written between two syncs: the system writes them out steadily, and not all at once at the end."""


class Damaged(Exception):
    """A file does not hold what its index says."""


@dataclass(frozen=True, slots=True)
class Buffer:
    """Bytes to write as one area."""

    content: memoryview
    dtype: str


@dataclass(frozen=True, slots=True)
class Copy:
    """Bytes [start, start + len(into)) of an area, and where they go."""

    area: int
    start: int
    into: memoryview


def block_size(total: int, slices: int) -> int:
    """Return the bytes of a block for a file of `total` bytes that holds so many slices: a power of two."""
    wanted = max(1, total // min(max(1, slices) * BLOCKS_PER_SLICE, MOST_BLOCKS))
    return min(max(1 << (wanted - 1).bit_length(), SMALLEST_BLOCK), LARGEST_BLOCK)


def write_buffers(path: Path, buffers: Sequence[Buffer], slices: int,
                  rest: Callable[[float], object] = lambda _worked: None) -> tuple[int, tuple[Area, ...]]:
    """Write the buffers, which hold so many slices, one after the other, durably; return the block size and the areas.
    Raises OSError.

    After each chunk `rest` is told how many seconds of a core it took.
    """
    block = block_size(sum(buffer.content.nbytes for buffer in buffers), slices)
    areas: list[Area] = []
    offset = 0
    with path.open("wb", buffering=0) as file:
        for buffer in buffers:
            content = buffer.content.cast("B")
            digests: list[str] = []
            for start in range(0, len(content), CHUNK):
                begun = time.thread_time()
                chunk = content[start : start + CHUNK]
                digests += _digests(chunk, block)
                _write(file.fileno(), chunk)
                if (offset + start) // SYNCED != (offset + start + len(chunk)) // SYNCED:
                    os.fdatasync(file.fileno())
                rest(time.thread_time() - begun)
            areas.append(Area.model_validate({"offset": offset, "bytes": len(content), "dtype": buffer.dtype,
                                              "digests": tuple(digests)}))
            offset += len(content)
        os.fsync(file.fileno())
    return block, tuple(areas)


def read_copies(source: Source, index: FileIndex, copies: Iterable[Copy]) -> int:
    """Fill every copy from the file; return the bytes read. Raises Damaged where a block is not what was written."""
    by_area = _by_area(copies)
    read = 0
    for part, data in _checked(source, index, _wanted(index, by_area)):
        _fill(by_area[part.area], part.start, data)
        read += len(data)
    return read


def bytes_to_read(index: FileIndex, copies: Iterable[Copy]) -> int:
    """Return how many bytes of the file are read for the copies: those of whole blocks."""
    return sum(part.end - part.start for part in _wanted(index, _by_area(copies)))


def verify_file(source: Source, index: FileIndex) -> int:
    """Read all of a file and check every block; return the bytes read. Raises Damaged."""
    parts = [part for number, area in enumerate(index.areas) for part in _parts(index, number, [(0, area.bytes)])]
    return sum(len(data) for _, data in _checked(source, index, parts))


def _by_area(copies: Iterable[Copy]) -> dict[int, list[Copy]]:
    by_area: dict[int, list[Copy]] = defaultdict(list)
    for copy in copies:
        if len(copy.into):
            by_area[copy.area].append(copy)
    return by_area


def _wanted(index: FileIndex, by_area: dict[int, list[Copy]]) -> list["_Part"]:
    return [part for number, wanted in by_area.items()
            for part in _parts(index, number, _spans(wanted, index.areas[number].bytes, index.block))]


def _fill(copies: list[Copy], low: int, data: memoryview) -> None:
    """Take from the bytes that begin at `low` what the copies want of them."""
    high = low + len(data)
    for copy in copies:
        first, last = max(copy.start, low), min(copy.start + len(copy.into), high)
        if first < last:
            copy.into[first - copy.start : last - copy.start] = data[first - low : last - low]


def _spans(copies: list[Copy], size: int, block: int) -> list[tuple[int, int]]:
    """Return the spans of whole blocks that hold the copies, each block once."""
    spans: list[tuple[int, int]] = []
    for copy in sorted(copies, key=lambda copy: copy.start):
        low, high = copy.start // block * block, min(-(-(copy.start + len(copy.into)) // block) * block, size)
        if spans and low <= spans[-1][1]:
            spans[-1] = (spans[-1][0], max(spans[-1][1], high))
        else:
            spans.append((low, high))
    return spans


@dataclass(frozen=True, slots=True)
class _Part:
    """Bytes [start, end) of an area: whole blocks."""

    area: int
    start: int
    end: int


def _parts(index: FileIndex, area: int, spans: Iterable[tuple[int, int]]) -> Iterator[_Part]:
    """Yield the spans of an area in chunks."""
    for low, high in spans:
        yield from (_Part(area, start, min(start + CHUNK, high)) for start in range(low, high, CHUNK))


def _checked(source: Source, index: FileIndex, parts: Sequence[_Part]) -> Iterator[tuple[_Part, memoryview]]:
    """Yield each part and its bytes, every block compared with its digest."""
    try:
        yield from _compared(source, index, parts)
    except FileNotFoundError:
        raise Damaged(f"{source.name} is missing") from None


def _compared(source: Source, index: FileIndex, parts: Sequence[_Part]) -> Iterator[tuple[_Part, memoryview]]:
    spans = ((index.areas[part.area].offset + part.start, part.end - part.start) for part in parts)
    for part, content in zip(parts, source.read(spans), strict=True):
        area, data = index.areas[part.area], memoryview(content)
        expected = area.digests[part.start // index.block : -(-part.end // index.block)]
        if len(data) != part.end - part.start or tuple(_digests(data, index.block)) != expected:
            raise Damaged(f"{source.name} is damaged in bytes {area.offset + part.start}..{area.offset + part.end}")
        yield part, data


def _digests(data: memoryview, block: int) -> list[str]:
    return [xxhash.xxh3_128_hexdigest(data[start : start + block]) for start in range(0, len(data), block)]


def _write(descriptor: int, data: memoryview) -> None:
    while len(data):
        data = data[os.write(descriptor, data) :]
