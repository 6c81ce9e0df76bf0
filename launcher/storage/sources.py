"""A file that is read in parts, wherever it lies: a path, or an object of a store.

Decides how much is asked for at once. What is read is the caller's: checkpoints read blocks, models slices of
tensors, and no rank reads a whole file.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from launcher.storage.store import Span, Store

AT_ONCE = 64 << 20
"""Bytes of an object that are asked for together, however many parts they are in."""


class Source(Protocol):
    """A file. One that is not there raises FileNotFoundError, trouble with the medium another OSError."""

    @property
    def name(self) -> str:
        """Return the file's own name."""
        ...

    def size(self) -> int:
        """Return its size in bytes."""
        ...

    def read(self, spans: Iterable[Span]) -> Iterator[bytes]:
        """Yield what each span holds, in order; fewer bytes where the file ends."""
        ...

    def __str__(self) -> str:
        """Return where it is, for messages."""
        ...


@dataclass(frozen=True, slots=True)
class FileSource:
    """One on a local or shared file system."""

    path: Path

    @property
    def name(self) -> str:
        """Return the file's own name."""
        return self.path.name

    def size(self) -> int:
        """Return its size in bytes."""
        return self.path.stat().st_size

    def read(self, spans: Iterable[Span]) -> Iterator[bytes]:
        """Yield what each span holds, one read after the other."""
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            for offset, length in spans:
                yield os.pread(descriptor, length, offset)
        except OSError as error:
            error.filename = error.filename or str(self.path)  # reading by descriptor does not say of which file
            raise
        finally:
            os.close(descriptor)

    def __str__(self) -> str:
        """Return its path."""
        return str(self.path)


@dataclass(frozen=True, slots=True)
class ObjectSource:
    """An object of a store."""

    store: Store
    key: str

    @property
    def name(self) -> str:
        """Return the last part of its key."""
        return self.key.rpartition("/")[2]

    def size(self) -> int:
        """Return its size in bytes."""
        try:
            return self.store.size(self.key)
        except KeyError:
            raise absent(self.store, self.key) from None

    def read(self, spans: Iterable[Span]) -> Iterator[bytes]:
        """Yield what each span holds; several are asked for at once."""
        for some in together(spans, AT_ONCE):
            try:
                yield from self.store.get_ranges(self.key, some)
            except KeyError:
                raise absent(self.store, self.key) from None

    def __str__(self) -> str:
        """Return its URL."""
        return f"{self.store.url}/{self.key}"


def together(spans: Iterable[Span], most: int) -> Iterator[list[Span]]:
    """Yield spans in groups of at most so many bytes, or of one."""
    group, size = list[Span](), 0
    for span in spans:
        if group and size + span[1] > most:
            yield group
            group, size = [], 0
        group.append(span)
        size += span[1]
    if group:
        yield group


def absent(store: Store, key: str) -> FileNotFoundError:
    """Return the error of an object that is not there."""
    return FileNotFoundError(0, "not there", f"{store.url}/{key}")


def whole(source: Source) -> bytes:
    """Return all of a small file."""
    return b"".join(source.read([(0, source.size())]))
