"""Copies of objects on this node, so that its processes can map them: each is downloaded once.

    objects/<store>/files/<key>       the copy
                   /known/<key>.json  what it is a copy of
                   /known/<key>.lock  held by whoever downloads it

in `storage.node_folder`. Decides when a copy is as good as the object: its tag and size are what the store says now,
and nobody has touched the file since. Nothing is ever removed here: the folder is the node's to clear, while no run
works on it. Downloading is whoever calls.
"""

import fcntl
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path

from launcher.core.document import Document
from launcher.storage.files import write_atomic
from launcher.storage.node_folder import node_folder
from launcher.storage.objects.requests import Head

Fetch = Callable[[int, Head], None]
"""Writes all of an object's bytes to a file descriptor."""


class Known(Document):
    """What a copy is a copy of, and the file as it was then."""

    size: int
    tag: str
    inode: int
    modified_ns: int


def scratch() -> Path:
    """Return the node-local folder for copies, made."""
    folder = node_folder() / "objects"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


class LocalCopies:
    """The copies of one store's objects."""

    def __init__(self, url: str) -> None:
        self._url = url

    def file(self, key: str, head: Head, fetch: Fetch) -> Path:
        """Return a file with the content that the head tells of, fetched unless it is there. Raises OSError."""
        folder = scratch() / blake2b(self._url.encode(), digest_size=8).hexdigest()
        path, known = folder / "files" / key, folder / "known" / f"{key}.json"
        if _good(path, known, head):
            return path
        for parent in (path.parent, known.parent):
            parent.mkdir(parents=True, exist_ok=True)
        with _held(known.with_suffix(".lock")):
            # Whoever held it before may have fetched just this.
            if not _good(path, known, head):
                _fetch(path, head, fetch)
                status = path.stat()
                mine = Known(size=head.size, tag=head.tag, inode=status.st_ino, modified_ns=status.st_mtime_ns)
                write_atomic(known, (mine.to_json().encode(),))
        return path


def _good(path: Path, known: Path, head: Head) -> bool:
    try:
        said, status = Known.from_json(known.read_bytes()), path.stat()
    except (OSError, ValueError):
        return False
    there = Known(size=status.st_size, tag=said.tag, inode=status.st_ino, modified_ns=status.st_mtime_ns)
    return said == there and (said.size, said.tag) == head


def _fetch(path: Path, head: Head, fetch: Fetch) -> None:
    """Put the file in place when it is whole and on the disk: after a crash nobody reads it again to see."""
    temporary = path.with_name(f".{path.name}.part")  # one name: of a killed process's nothing piles up
    try:
        with temporary.open("wb") as file:
            file.truncate(head.size)
            fetch(file.fileno(), head)
            os.fsync(file.fileno())
        os.replace(temporary, path)  # noqa: PTH105  (Path.replace hides that this is the atomic act)
    except OSError as error:
        error.filename = error.filename or str(path)
        raise
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def _held(path: Path) -> Generator[None]:
    """Hold a lock that goes with its process. Its file stays: of one that is removed two could be held."""
    with path.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            # Said, not left to closing: a child that was forked meanwhile has the file open too.
            fcntl.flock(file, fcntl.LOCK_UN)
