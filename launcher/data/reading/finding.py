"""From the paths of a source to its parts, in the order they are read.

Decides that a folder holds one format, that globs and folders are sorted by name, and which split of a saved dataset is
meant. What a path may be is `storage.data_paths`.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from launcher.core.errors import DataInvalid
from launcher.core.recipe_sources import Source
from launcher.data.reading.formats import FORMATS
from launcher.data.reading.hub import HubTable, find_commit
from launcher.data.reading.parts import FilePart, Part
from launcher.data.reading.places import WEB, LocalPlace, RemotePlace, remote_told
from launcher.data.reading.splits import choose_split, split_named
from launcher.storage.data_paths import (
    DATA_SUFFIXES,
    GLOB,
    SAVED_DATASET,
    SAVED_SPLITS,
    absolute_data_path,
    data_suffix,
    hub_id,
    is_url,
    local_files,
    problem_with,
)
from launcher.storage.store import Store
from launcher.storage.typed_paths import is_file, is_folder

# How long a server of the web may take to answer, and to be silent in the middle of a file.
CONNECT_S, SILENCE_S = 30, 120


def find_parts(source: Source, paths: tuple[str, ...], store: Store | None) -> tuple[Part, ...]:
    """Return the parts that paths mean; `source` says which split, subset and revision. Raises DataInvalid."""
    absolute = [absolute_data_path(path, Path()) for path in paths]
    if not absolute:
        raise DataInvalid("path: names nothing; give a path, or a list of them")
    _check_choices(source, absolute)
    return tuple(part for path in absolute for part in _parts(source, path, store))


def _check_choices(source: Source, paths: list[str]) -> None:
    hub = any(hub_id(path) is not None for path in paths)
    for name, value in (("subset", source.subset), ("revision", source.revision)):
        if value is not None and not hub:
            raise DataInvalid(f"{name}: {value} goes with ids of the Hugging Face hub; leave it out")
    if source.split is not None and not hub and not any(_saved(Path(path)) for path in paths):
        raise DataInvalid(f"split: {source.split} goes with ids of the Hugging Face hub and with saved datasets; leave "
                          "it out, and name the files of the split")


def _saved(folder: Path) -> bool:
    return is_file(folder / SAVED_DATASET) or is_file(folder / SAVED_SPLITS)


def _parts(source: Source, path: str, store: Store | None) -> list[Part]:
    if (name := hub_id(path)) is not None:
        return [HubTable(name, source.subset, source.split, find_commit(name, source.revision or "main", store))]
    if is_url(path):
        return _remote(path)
    if is_folder(Path(path)):
        return _folder(Path(path), source.split)
    if (problem := problem_with(path)) is not None:
        raise DataInvalid(f"{path or 'path'}: {problem.removesuffix(f': {path}')}")
    return [FilePart(LocalPlace(file)) for file in local_files(path)]


def _files_in(folder: Path) -> list[str]:
    try:
        return [str(file) for file in local_files(str(folder))]
    except OSError as error:
        raise DataInvalid(f"{error.filename}: cannot be looked into: {error.strerror}") from None


def _folder(folder: Path, split: str | None) -> list[Part]:
    if is_file(folder / SAVED_SPLITS):
        splits = list(_record(folder / SAVED_SPLITS, "splits"))
        return _folder(folder / choose_split(str(folder), split, splits), None)
    if is_file(folder / SAVED_DATASET):
        names = [str(file["filename"]) for file in _record(folder / SAVED_DATASET, "_data_files")]
        return [FilePart(LocalPlace(folder / name)) for name in names]
    files = _files_in(folder)
    _check_one_format(str(folder), files)
    _check_one_split(folder, files)
    return [FilePart(LocalPlace(Path(file))) for file in files]


def _record(file: Path, field: str) -> Any:
    """Return a field of what `datasets` wrote beside a saved dataset."""
    try:
        value = json.loads(file.read_bytes())[field]
        if not value or not isinstance(value, list):
            raise ValueError(field)
    except (OSError, ValueError, KeyError, TypeError):
        raise DataInvalid(f"{file}: cannot be read, so the folder is no whole dataset of save_to_disk; save it "
                          "again") from None
    return value


def _remote(url: str) -> list[Part]:
    from fsspec.core import url_to_fs

    with remote_told(url):
        system, path = url_to_fs(url, **_options(url))
        system.invalidate_cache()
        paths = sorted(_listed(system, path, url))
    return [FilePart(RemotePlace(system, each)) for each in paths]


def _options(url: str) -> dict[str, Any]:
    if not url.startswith(WEB):
        return {}
    from aiohttp import ClientTimeout

    # By default a stream ends with an error after five minutes, however well it goes.
    return {"client_kwargs": {"timeout": ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=SILENCE_S)}}


def _listed(system: Any, path: str, url: str) -> Iterator[str]:
    # Of a web address a question mark begins the query.
    web = url.startswith(WEB)
    if "*" in path or (not web and GLOB.search(path)):
        found = system.glob(path)
        if not found:
            raise DataInvalid(f"{url}: no file matches")
        yield from found
    elif url.endswith("/") or (not web and system.isdir(path)):
        found = [file for file in system.find(path) if data_suffix(urlsplit(file).path) is not None]
        _check_one_format(url, sorted(found))
        yield from found
    else:
        yield path


def _check_one_split(folder: Path, files: list[str]) -> None:
    """Raise DataInvalid if files are named after several splits, as on the hub: a test set must not be trained on."""
    named = {split: file for file in reversed(files) if (split := split_named(file.removeprefix(str(folder))))}
    if "train" in named and len(named) > 1:
        other = next(file for split, file in sorted(named.items()) if split != "train")
        raise DataInvalid(f"{folder}: holds files of several splits, such as {named['train']} and {other}; name "
                          "those to train on by a glob or a folder, or list them all")


def _check_one_format(folder: str, files: list[str]) -> None:
    """Raise DataInvalid unless the files are of one format: a README.txt must not become a document."""
    if not files:
        raise DataInvalid(f"{folder}: holds no data files; they end in {', '.join(DATA_SUFFIXES)}, or one of these and "
                          ".gz, .bz2, .xz or .zst")
    formats = {FORMATS[data_suffix(file) or ""]: file for file in reversed(files)}
    if len(formats) > 1:
        one, other = list(formats.values())[:2]
        raise DataInvalid(f"{folder}: holds files of several formats, such as {one} and {other}; say which with a "
                          f"glob, such as {folder.rstrip('/')}/*{data_suffix(one)}")
