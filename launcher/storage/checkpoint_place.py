"""One checkpoint, wherever it lies: what is read of it, and whether what goes wrong is damage or trouble with storage.

Damage raises Damaged: the checkpoint is worth nothing, and the one before is taken. A file that somebody has to make
readable first, for want of a permission or of a disk that answers, raises PlatformError: nothing is put aside for it.
"""

from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Protocol

from launcher.core.errors import PlatformError
from launcher.core.manifest import FileIndex, Manifest, RankFile, is_sealed
from launcher.storage.slice_files import Copy, Damaged, read_copies, verify_file
from launcher.storage.sources import FileSource, Source, whole

MANIFEST = "manifest.json"


class Place(Protocol):
    """Where the files of one checkpoint lie. What is not there raises FileNotFoundError or Damaged."""

    def get(self, name: str) -> bytes:
        """Return a small file's content."""
        ...

    def size(self, name: str) -> int:
        """Return a file's size in bytes."""
        ...

    def source(self, name: str) -> Source:
        """Return a file to be read in parts."""
        ...

    def near(self, name: str) -> Iterable[Source]:
        """Return copies of a file that are nearer, on this node and then on others: worth reading only if what is read
        is compared with digests."""
        ...


@dataclass(frozen=True, slots=True)
class Folder:
    """A checkpoint on a local or shared file system."""

    path: Path

    def get(self, name: str) -> bytes:
        """Return a file's content."""
        return (self.path / name).read_bytes()

    def size(self, name: str) -> int:
        """Return a file's size in bytes."""
        return (self.path / name).stat().st_size

    def source(self, name: str) -> Source:
        """Return a file to be read in parts."""
        return FileSource(self.path / name)

    def near(self, name: str) -> Iterable[Source]:
        """Return nothing: there is nothing nearer."""
        return ()


def manifest_in(place: Place, *, sizes: bool = True) -> Manifest:
    """Return a checkpoint's manifest, the sizes of its files compared. Raises Damaged or PlatformError.

    Without `sizes` no file is asked for: each costs a request, and every rank has as many as there are ranks.
    """
    with reading():
        manifest = _manifest(place.get(MANIFEST))
        for file in manifest.files if sizes else ():
            if (size := place.size(file.name)) != file.bytes:
                raise Damaged(f"{file.name} has {size} bytes where {file.bytes} were written")
    return manifest


def _manifest(text: bytes) -> Manifest:
    try:
        manifest = Manifest.from_json(text)
        if not is_sealed(text):
            raise Damaged(f"{MANIFEST} is damaged")
    except ValueError:
        raise Damaged(f"{MANIFEST} is not a manifest") from None
    return manifest


def index_in(place: Place, file: RankFile, *, near: bool = True) -> FileIndex:
    """Return what is in one rank's file, `near` from a copy if there is one. Raises Damaged or PlatformError."""
    name = f"{file.name}.json"
    for copy in place.near(name) if near else ():
        with suppress(OSError):
            if index_digest(text := whole(copy)) == file.index_digest:
                return FileIndex.from_json(text)
    with reading():
        text = place.get(name)
    if index_digest(text) != file.index_digest:
        raise Damaged(f"{file.name}.json is damaged")
    return FileIndex.from_json(text)


def copy_from(place: Place, file: RankFile, index: FileIndex, copies: Iterable[Copy]) -> int:
    """Fill every copy from one rank's file, or what is kept of it nearer; return the bytes read.

    Raises Damaged or PlatformError.
    """
    wanted = list(copies)
    for near in place.near(file.name):
        with suppress(OSError, Damaged):
            return read_copies(near, index, wanted)
    with reading():
        return read_copies(place.source(file.name), index, wanted)


def verify_in(place: Place, file: RankFile) -> None:
    """Read all of one rank's file where all nodes see it, and check every block. Raises Damaged or PlatformError."""
    index = index_in(place, file, near=False)
    with reading():
        verify_file(place.source(file.name), index)


def index_digest(text: bytes) -> str:
    """Return what the manifest knows an index by."""
    return blake2b(text, digest_size=16).hexdigest()


@contextmanager
def reading() -> Generator[None]:
    """Turn errors of the medium into Damaged, where a file is not there, or PlatformError."""
    try:
        yield
    except FileNotFoundError as error:
        raise Damaged(f"{Path(error.filename).name} is missing") from None
    except IsADirectoryError as error:
        raise Damaged(f"{Path(error.filename).name} is a folder") from None
    except OSError as error:
        raise PlatformError(f"{error.filename}: cannot be read: {error.strerror}; mend that and give the same command "
                            "again, or move that checkpoint away to go on from the one before") from None
