"""Where a file lies: on a local or shared file system, or behind a URL that fsspec opens.

Decides what tells that a file was changed, and turns whatever goes wrong there into one message. What is in the file is
`reading.parts`.
"""

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, cast
from urllib.parse import urlsplit

from launcher.core.document import fingerprint
from launcher.core.errors import DataInvalid
from launcher.data.hashes import Stamp, chunks, content_hash, hash_of, stamp_of
from launcher.data.reading.tables import first_line
from launcher.storage.store import Store

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

WEB = ("http://", "https://")
BLOCK_BYTES = 4 << 20
# What file systems offer that changes with the content. An entity tag alone says all; the others only together.
TAGS = ("ETag", "etag", "checksum", "md5", "md5Hash", "sha256", "content_md5", "Content-MD5", "Digest")
TIMES = ("mtime", "LastModified", "Last-Modified", "last_modified", "updated", "created")


class Place(Protocol):
    """A file, wherever it is. Everything may raise DataInvalid, which names it."""

    path: str
    """As messages name it."""
    name: str
    """What its format is told from."""
    local: bool
    size: int
    found: Stamp
    """What `stamp` was when the file was found."""

    def open(self, *, anywhere: bool) -> "Any":
        """Return a context in which the file's bytes can be read, from anywhere or in order; errors of reading it there
        become DataInvalid.
        """
        ...

    def stamp(self) -> Stamp:
        """Return what changes when the file is written."""
        ...

    def content(self, store: Store) -> str:
        """Return what its bytes are known by."""
        ...


class LocalPlace:
    """A file on a local or shared file system."""

    local = True

    def __init__(self, path: Path) -> None:
        """Take a file. Raises DataInvalid if it is none: a pipe would be waited on for ever."""
        self.path, self.name, self._path = str(path), path.name, path
        with self._told():
            status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe or a device"
            raise DataInvalid(f"{path}: is {kind}, not a file; data is read more than once, so write it to a file")
        self.size = status.st_size
        self.found = self.stamp()

    @contextmanager
    def open(self, *, anywhere: bool) -> Iterator[BinaryIO]:
        """Open the file."""
        with self._told(), self._path.open("rb", buffering=0) as file:
            yield cast(BinaryIO, file)

    def stamp(self) -> Stamp:
        """Return size, time and inode."""
        with self._told():
            return stamp_of(self._path)

    def content(self, store: Store) -> str:
        """Return the hash of the bytes, remembered by the stamp."""
        with self._told():
            return content_hash(self._path, store)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            # What was found out is put into the cache, whose trouble is not this file's.
            if error.filename is not None and str(error.filename) != self.path:
                raise
            raise DataInvalid(f"{self.path}: cannot be read: {error.strerror or first_line(error)}; check the path and "
                              "who may read it") from None


class RemotePlace:
    """A file behind a URL."""

    local = False

    def __init__(self, system: "AbstractFileSystem", path: str) -> None:
        self.path = system.unstrip_protocol(path)
        self.name = urlsplit(self.path).path
        self._system, self._path = system, path
        with remote_told(self.path):
            # Of many files behind one URL, their listing says it all, without a request for each.
            self._said: dict[str, Any] = system.info(path)
        self.size, self.found = int(self._said.get("size") or 0), _stamp(self._said)

    @contextmanager
    def open(self, *, anywhere: bool) -> Iterator[BinaryIO]:
        """Open the file, in blocks; from the web as one stream if that will do, for not every server knows ranges."""
        stream = self.path.startswith(WEB) and not anywhere
        with remote_told(self.path), self._system.open(self._path, "rb", block_size=0 if stream else BLOCK_BYTES,
                                                       cache_type="readahead") as file:
            yield cast(BinaryIO, file)

    def stamp(self) -> Stamp:
        """Return what the server says of the file now."""
        with remote_told(self.path):
            self._system.invalidate_cache()
            return _stamp(self._system.info(self._path))

    def content(self, store: Store) -> str:
        """Return the server's word on the content, or the hash of the bytes where it says nothing."""
        info = self._said
        tags = [str(info[name]) for name in TAGS if info.get(name)]
        times = [str(info[name]) for name in TIMES if info.get(name)]
        if tags or (times and info.get("size")):
            return fingerprint(info.get("size"), tags or [self.path, *times])
        with self.open(anywhere=False) as file:
            return hash_of(chunks(file))


def _stamp(info: dict[str, Any]) -> Stamp:
    return tuple(str(info[name]) for name in ("size", *TAGS, *TIMES) if info.get(name) is not None)


@contextmanager
def remote_told(url: str) -> Iterator[None]:
    """Turn any trouble with a URL into DataInvalid: each of the libraries under fsspec has its own family of errors."""
    try:
        yield
    except DataInvalid:
        raise
    except ImportError as error:
        raise DataInvalid(f"{url}: needs a package that is not installed ({first_line(error)})") from None
    except Exception as error:
        cause = _first_cause(error)
        if isinstance(cause, FileNotFoundError) or getattr(cause, "status", None) in (404, 410):
            raise DataInvalid(f"{url}: there is no such file; check the URL") from None
        raise DataInvalid(f"{url}: cannot be read ({type(cause).__name__}: {first_line(cause)}); check the URL, the "
                          "network and your credentials") from None


def _first_cause(error: BaseException) -> BaseException:
    """Return what began it: fsspec says of any trouble on the web that there is no such file."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error
