"""One rank's file of raw bytes: buffers written as they are, hashed block by block, and read back in any parts.

Decides block size and layout on disk; what the bytes mean is `core.manifest`, where files lie `storage.checkpoints`.
A reader touches only the blocks that hold what it wants and checks each before it uses a byte of it.
"""

import os
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import xxhash

from launcher.core.manifest import Area, FileIndex

SMALLEST_BLOCK, LARGEST_BLOCK = 4 << 10, 1 << 20
BLOCKS_PER_FILE = 4096
"""About as many as an index has room for; small files have small blocks, so that parts of them can be read alone."""
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


def block_size(total: int) -> int:
    """Return the bytes of a block for a file of `total` bytes: a power of two."""
    wanted = max(1, total // BLOCKS_PER_FILE)
    return min(max(1 << (wanted - 1).bit_length(), SMALLEST_BLOCK), LARGEST_BLOCK)


def write_buffers(path: Path, buffers: Sequence[Buffer],
                  rest: Callable[[float], object] = lambda _worked: None) -> tuple[int, tuple[Area, ...]]:
    """Write the buffers one after the other, durably; return the block size and the areas. Raises OSError.

    After each chunk `rest` is told how many seconds of a core it took.
    """
    block = block_size(sum(buffer.content.nbytes for buffer in buffers))
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


def read_copies(path: Path, index: FileIndex, copies: Iterable[Copy]) -> int:
    """Fill every copy from the file; return the bytes read. Raises Damaged where a block is not what was written."""
    by_area: dict[int, list[Copy]] = defaultdict(list)
    for copy in copies:
        if len(copy.into):
            by_area[copy.area].append(copy)
    read = 0
    with _opened(path) as descriptor:
        for number, wanted in by_area.items():
            area = index.areas[number]
            for start, data in _checked(descriptor, path, area, index.block, _spans(wanted, area.bytes, index.block)):
                _fill(wanted, start, data)
                read += len(data)
    return read


def verify_file(path: Path, index: FileIndex) -> int:
    """Read all of a file and check every block; return the bytes read. Raises Damaged."""
    read = 0
    with _opened(path) as descriptor:
        for area in index.areas:
            read += sum(len(data) for _, data in _checked(descriptor, path, area, index.block, [(0, area.bytes)]))
    return read


@contextmanager
def _opened(path: Path) -> Generator[int]:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        raise Damaged(f"{path.name} is missing") from None
    try:
        yield descriptor
    except OSError as error:
        error.filename = error.filename or str(path)  # reading by descriptor does not say of which file
        raise
    finally:
        os.close(descriptor)


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


def _checked(descriptor: int, path: Path, area: Area, block: int,
             spans: Iterable[tuple[int, int]]) -> Iterator[tuple[int, memoryview]]:
    """Yield where each chunk of the spans begins and its bytes, every block compared with its digest."""
    for low, high in spans:
        for start in range(low, high, CHUNK):
            end = min(start + CHUNK, high)
            data = memoryview(os.pread(descriptor, end - start, area.offset + start))
            expected = area.digests[start // block : -(-end // block)]
            if len(data) != end - start or tuple(_digests(data, block)) != expected:
                raise Damaged(f"{path.name} is damaged in bytes {area.offset + start}..{area.offset + end}")
            yield start, data


def _digests(data: memoryview, block: int) -> list[str]:
    return [xxhash.xxh3_128_hexdigest(data[start : start + block]) for start in range(0, len(data), block)]


def _write(descriptor: int, data: memoryview) -> None:
    while len(data):
        data = data[os.write(descriptor, data) :]
