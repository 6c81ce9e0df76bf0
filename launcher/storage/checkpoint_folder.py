"""One checkpoint's folder: what is read of it, and whether what goes wrong there is damage or trouble with the medium.

Damage raises Damaged: the checkpoint is worth nothing, and the one before is taken. A file that somebody has to make
readable first, for want of a permission or of a disk that answers, raises PlatformError: nothing is put aside for it.
"""

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path

from launcher.core.errors import PlatformError
from launcher.core.manifest import FileIndex, Manifest, RankFile, is_sealed
from launcher.storage.slice_files import Copy, Damaged, read_copies, verify_file

MANIFEST = "manifest.json"


def has_manifest(folder: Path) -> bool:
    """Return whether a checkpoint exists. Raises PlatformError."""
    with reading():
        return (folder / MANIFEST).exists()


def manifest_in(folder: Path) -> Manifest:
    """Return a checkpoint's manifest, the sizes of its files compared. Raises Damaged or PlatformError."""
    with reading():
        manifest = _manifest((folder / MANIFEST).read_bytes())
        for file in manifest.files:
            if (size := (folder / file.name).stat().st_size) != file.bytes:
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


def index_in(folder: Path, file: RankFile) -> FileIndex:
    """Return what is in one rank's file. Raises Damaged or PlatformError."""
    with reading():
        text = (folder / f"{file.name}.json").read_bytes()
    if index_digest(text) != file.index_digest:
        raise Damaged(f"{file.name}.json is damaged")
    return FileIndex.from_json(text)


def copy_from(folder: Path, file: RankFile, index: FileIndex, copies: Iterable[Copy]) -> int:
    """Fill every copy from one rank's file; return the bytes read. Raises Damaged or PlatformError."""
    with reading():
        return read_copies(folder / file.name, index, copies)


def verify_in(folder: Path, file: RankFile) -> None:
    """Read all of one rank's file and check every block. Raises Damaged or PlatformError."""
    index = index_in(folder, file)
    with reading():
        verify_file(folder / file.name, index)


def index_digest(text: bytes) -> str:
    """Return what the manifest knows an index by."""
    return blake2b(text, digest_size=16).hexdigest()


@contextmanager
def reading() -> Generator[None]:
    """Turn errors of the file system into Damaged, where a file is not there, or PlatformError."""
    try:
        yield
    except FileNotFoundError as error:
        raise Damaged(f"{Path(error.filename).name} is missing") from None
    except IsADirectoryError as error:
        raise Damaged(f"{Path(error.filename).name} is a folder") from None
    except OSError as error:
        raise PlatformError(f"{error.filename}: cannot be read: {error.strerror}; mend that and give the same command "
                            "again, or move that checkpoint away to go on from the one before") from None
