"""What a source is made of: parts in order, each a file (or a table of the hub) that yields batches of rows.

Decides what any part offers. Which parts a source has is `reading.sources`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from launcher.core.errors import DataInvalid
from launcher.data.hashes import Stamp, content_hash, stamp_of
from launcher.data.reading.json_lines import read_json_lines
from launcher.data.reading.rows import RowBatch
from launcher.storage.store import Store

BUFFER_BYTES = 1 << 20


class Part(Protocol):
    """One file of a source. Everything may raise DataInvalid, which names the part."""

    path: str
    """As messages name it."""
    size: int
    """Bytes, for progress."""

    def batches(self, first: int, done: int) -> Iterator[RowBatch]:
        """Yield the rows; `first` rows and `done` bytes of the source come before this part."""
        ...

    def stamp(self) -> Stamp:
        """Return what changes when the part is written."""
        ...

    def content(self, store: Store) -> str:
        """Return the hash of the content."""
        ...


class LocalFile:
    """A file on a local or shared file system."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self._path = path
        self.size = int(self.stamp()[0])

    def stamp(self) -> Stamp:
        """Return size, time and inode."""
        try:
            return stamp_of(self._path)
        except OSError as error:
            raise self._unreadable(error) from None

    def content(self, store: Store) -> str:
        """Return the hash of the content, remembered by the stamp."""
        try:
            return content_hash(self._path, store)
        except OSError as error:
            raise self._unreadable(error) from None

    def batches(self, first: int, done: int) -> Iterator[RowBatch]:
        """Yield the rows."""
        try:
            with self._path.open("rb", buffering=BUFFER_BYTES) as stream:
                yield from read_json_lines(self.path, stream, first, done)
        except OSError as error:
            raise self._unreadable(error) from None

    def _unreadable(self, error: OSError) -> DataInvalid:
        return DataInvalid(f"{self.path}: cannot be read: {error.strerror}; a source is a file of JSON lines")
