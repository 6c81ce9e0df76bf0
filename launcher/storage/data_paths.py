"""What a recipe may name as data: local files, globs and folders, URLs, and ids of the Hugging Face hub.

Decides which of them a text is, and which local files it means, in which order. Reading them is `data.reading`.
"""

import glob
import os
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from launcher.storage.shipped import DATA_PREFIX, PACKAGE
from launcher.storage.typed_paths import is_file, is_folder, typed_path

HUB_PREFIX = "hub:"
FILE_PREFIX = "file://"
DATA_SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".arrow", ".txt")
COMPRESSED_SUFFIXES = (".gz", ".bz2", ".xz", ".zst")
SAVED_DATASET, SAVED_SPLITS = "state.json", "dataset_dict.json"
"""What `datasets` writes beside the arrow files of a saved dataset, and above those of several splits."""
# fsspec chains them: simplecache::s3://bucket/data.jsonl
URL = re.compile(r"([A-Za-z0-9]+::)*[A-Za-z][A-Za-z0-9+.-]*://")
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
GLOB = re.compile(r"[*?\[]")


def is_url(path: str) -> bool:
    """Return whether a path is a URL, such as s3://bucket/data.jsonl."""
    return URL.match(path) is not None


def hub_id(path: str) -> str | None:
    """Return the OWNER/NAME that `hub:OWNER/NAME` says, or None."""
    return path.removeprefix(HUB_PREFIX) if path.startswith(HUB_PREFIX) else None


def data_suffix(path: str) -> str | None:
    """Return the suffix that tells a file's format, without that of its compression; None if it is not a known one."""
    name = path.lower()
    for suffix in COMPRESSED_SUFFIXES:
        name = name.removesuffix(suffix)
    return next((suffix for suffix in DATA_SUFFIXES if name.endswith(suffix)), None)


def is_compressed(path: str) -> bool:
    """Return whether a file's name says that it is compressed."""
    return path.lower().endswith(COMPRESSED_SUFFIXES)


def absolute_data_path(path: str, folder: Path) -> str:
    """Return a path that means the same in any folder: local ones absolute, hub ids with `hub:`, URLs as they are but
    for `file://`, which is a local path.

    OWNER/NAME is a hub id where no such local path exists, unless it ends as a data file does.
    """
    if path.startswith(FILE_PREFIX):
        return unquote(urlsplit(path).path)
    if not path or is_url(path) or hub_id(path) is not None:
        return path
    if path.startswith(DATA_PREFIX):
        return str(PACKAGE / path.removeprefix(DATA_PREFIX))
    local = typed_path(path, folder)
    looks_like_id = HUB_ID.fullmatch(path) is not None and data_suffix(path) is None and not is_compressed(path)
    return HUB_PREFIX + path if looks_like_id and not _is_there(local) else str(local)


def problem_with(path: str) -> str | None:
    """Return why an absolute data path cannot be read, as far as a look at local folders tells; None if it may be."""
    if is_url(path) or hub_id(path) is not None:
        return None
    if not path:
        return "is empty; name a file, a folder, a URL or an id of the Hugging Face hub"
    local = Path(path)
    if is_file(local) or is_folder(local):
        return None
    if os.path.islink(local):  # noqa: PTH114  (a path too long must not raise)
        return f"is a link to {os.readlink(local)}, which is not there: {path}"  # noqa: PTH115
    if _is_there(local):
        return f"is neither a file nor a folder (a pipe or a device), and data is read more than once: {path}"
    if GLOB.search(path):
        return None if local_files(path) else f"no file matches: {path}"
    return f"no such file: {path}"


def local_files(path: str) -> tuple[Path, ...]:
    """Return the local files that an absolute path means, in the order they are read: that file, those a glob matches,
    or the data files in a folder and the folders in it. Names that begin with a dot or an underscore are no data.

    What has a data file's name and cannot be read, such as a link to nothing, is among them: it must not go unnoticed.
    Raises OSError for a folder that cannot be looked into.
    """
    local = Path(path)
    if is_file(local):
        return (local,)
    if is_folder(local):
        return tuple(sorted(_walk(local)))
    if _is_there(local) or not GLOB.search(path):
        return ()
    return tuple(file for file in map(Path, sorted(glob.glob(path, recursive=True))) if not is_folder(file))  # noqa: PTH207


def _walk(folder: Path) -> Iterator[Path]:
    """Yield the data files in a folder and below. Linked folders are followed, but none twice."""
    seen: set[str] = set()
    for root, folders, files in os.walk(folder, onerror=_raise, followlinks=True):
        seen.add(os.path.realpath(root))
        # Sorted, so that of two links to one folder it is the same everywhere that counts.
        folders[:] = sorted(name for name in folders if not name.startswith((".", "_")) and
                            os.path.realpath(os.path.join(root, name)) not in seen)  # noqa: PTH118
        yield from (Path(root, name) for name in files
                    if not name.startswith((".", "_")) and data_suffix(name) is not None)


def _raise(error: OSError) -> None:
    raise error


def _is_there(path: Path) -> bool:
    return os.path.lexists(path)
