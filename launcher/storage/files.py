"""Atomic and durable writes on a local file system: the only place that opens state files for writing."""

import errno
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

PART = 8 << 20
"""Bytes of a large file that are held at once."""


def write_atomic(path: Path, chunks: Iterable[bytes], *, durable: bool = True, make_folder: bool = True) -> None:
    """Write a file so that readers see the old content or the new one, never a part of either.

    With `durable`, content and name survive a power failure once this returns. Without `make_folder` a folder that is
    gone, because somebody took it away, is an error.
    """
    if make_folder:
        path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(3).hex()}")
    try:
        with temporary.open("wb") as file:
            for chunk in chunks:
                file.write(chunk)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)  # noqa: PTH105  (Path.replace hides that this is the atomic act)
    except OSError as error:
        # A full disk does not say which file it was about, and people must know which disk.
        error.filename = error.filename or str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)
    if durable:
        sync_folder(path.parent)


def parts_of(path: Path, size: int | None = None) -> Iterator[bytes]:
    """Yield a file's content, or its first `size` bytes, in parts that a process has room for. Raises OSError."""
    left = path.stat().st_size if size is None else size
    with path.open("rb") as file:
        while left and (part := file.read(min(left, PART))):
            left -= len(part)
            yield part


def is_full(error: OSError) -> bool:
    """Return whether there was no room: on the disk, or within a quota."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def full_disk(error: BaseException) -> str:
    """Return what to tell of a disk without room; nothing of other errors."""
    if not isinstance(error, OSError) or not is_full(error):
        return ""
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror}; make room and give the same command again"


def append_whole(descriptor: int, data: bytes) -> None:
    """Append to a file that has one writer, all of it or nothing: a disk that fills up writes a part and says nothing.

    Raises OSError, the file being as it was.
    """
    before = os.fstat(descriptor).st_size
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    except OSError:
        os.ftruncate(descriptor, before)
        raise


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
