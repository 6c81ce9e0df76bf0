"""The Store: immutable objects by key. Prepared data and run directories are reached through it alone.

No append and no rename is offered, so that object stores can implement it. Keys are relative, with forward slashes.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from launcher.storage.files import sync_folder, write_atomic

Content = bytes | Iterable[bytes]
Span = tuple[int, int]
"""Offset and length in bytes."""


class Store(Protocol):
    """Where objects live. A missing key raises KeyError; trouble with the medium raises OSError."""

    url: str
    """What `open_store` opens again, in this process or another."""

    def put(self, key: str, content: Content) -> None:
        """Store an object atomically, replacing any of the same key."""
        ...

    def put_if_absent(self, key: str, content: Content) -> bool:
        """Store an object atomically unless the key exists; return whether it was stored by this call."""
        ...

    def get(self, key: str) -> bytes:
        """Return an object's whole content."""
        ...

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset`; fewer at the object's end."""
        ...

    def get_ranges(self, key: str, spans: Sequence[Span]) -> list[bytes]:
        """Return several ranges, each given as offset and length."""
        ...

    def size(self, key: str) -> int:
        """Return an object's size in bytes."""
        ...

    def exists(self, key: str) -> bool:
        """Return whether the key has an object."""
        ...

    def list(self, prefix: str = "") -> Iterator[str]:
        """Yield the keys that begin with a prefix, in order."""
        ...

    def delete(self, key: str) -> None:
        """Remove an object; a missing one is no error."""
        ...

    def local(self, key: str) -> Path:
        """Return a local file with the object's content, for memory-mapping. Read only."""
        ...

    def sweep(self, prefix: str) -> None:
        """Remove what killed processes left unfinished below a prefix. Only for its one writer: see `storage.lease`."""
        ...


def check_key(key: str) -> None:
    """Raise ValueError for what is not a key."""
    if not key or key.startswith("/") or ".." in Path(key).parts:
        raise ValueError(f"{key!r} is not a key: keys are relative and stay inside the store")


def _chunks(content: Content) -> Iterable[bytes]:
    return (content,) if isinstance(content, bytes) else content


class LocalStore:
    """A folder of a local or shared file system."""

    def __init__(self, folder: Path | str) -> None:
        self._folder = Path(folder).absolute()
        self.url = str(self._folder)

    def _path(self, key: str) -> Path:
        check_key(key)
        return self._folder / key

    def put(self, key: str, content: Content) -> None:
        """Store an object atomically and durably, replacing any of the same key."""
        write_atomic(self._path(key), _chunks(content))

    def put_if_absent(self, key: str, content: Content) -> bool:
        """Store an object unless the key exists. Uses link(2), which fails on an existing name, also over NFS."""
        path = self._path(key)
        if path.exists():
            return False
        temporary = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(3).hex()}.new")
        write_atomic(temporary, _chunks(content))
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(path.parent)
        return True

    def get(self, key: str) -> bytes:
        """Return an object's whole content."""
        try:
            return self._path(key).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            raise KeyError(key) from None

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset`; fewer at the object's end."""
        try:
            with self._path(key).open("rb") as file:
                return os.pread(file.fileno(), length, offset)
        except (FileNotFoundError, NotADirectoryError):
            raise KeyError(key) from None

    def get_ranges(self, key: str, spans: Sequence[Span]) -> list[bytes]:
        """Return several ranges, each given as offset and length."""
        return [self.get_range(key, offset, length) for offset, length in spans] if spans else []

    def size(self, key: str) -> int:
        """Return an object's size in bytes."""
        try:
            return self._path(key).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            raise KeyError(key) from None

    def exists(self, key: str) -> bool:
        """Return whether the key has an object."""
        return self._path(key).is_file()

    def list(self, prefix: str = "") -> Iterator[str]:
        """Yield the keys that begin with a prefix, in order. Files being written (a leading dot) are not objects."""
        folder = self._folder / prefix.rpartition("/")[0]
        names = (path.relative_to(self._folder).as_posix() for path in folder.rglob("*")
                 if path.is_file() and not path.name.startswith("."))
        yield from sorted(name for name in names if name.startswith(prefix))

    def delete(self, key: str) -> None:
        """Remove an object; a missing one is no error."""
        self._path(key).unlink(missing_ok=True)

    def local(self, key: str) -> Path:
        """Return the object's own file."""
        path = self._path(key)
        if not path.is_file():
            raise KeyError(key)
        return path

    def sweep(self, prefix: str) -> None:
        """Remove the files with a leading dot: `write_atomic` names those so that were never finished."""
        folder = self._folder / prefix.rpartition("/")[0]
        for path in [path for path in folder.rglob(".*") if path.is_file()]:
            path.unlink(missing_ok=True)


def open_store(url: str) -> Store:
    """Return the store at a path or URL. Raises UserError for a URL that no store can be at."""
    if "://" in url and not url.startswith("file://"):
        from launcher.storage.object_store import ObjectStore

        return ObjectStore(url)
    return LocalStore(url.removeprefix("file://"))
