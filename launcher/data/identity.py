"""What a prepared source or tokenizer is known by: fingerprints of all that shapes it, and of nothing else.

Decides what a fingerprint covers: content, not names or paths. Imports only what is light, because every start of a
run asks whether its data is prepared already.
"""

import os
import time
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from launcher.core.document import fingerprint
from launcher.core.errors import DataInvalid, UserError
from launcher.core.recipe import Recipe
from launcher.core.recipe_sources import Form, Source
from launcher.data.forms import find_form, loss_of
from launcher.data.jsonl import first_row, where
from launcher.data.model_files import TOKENIZER_FILES, model_folder
from launcher.data.tokenizer import CHAT_TEMPLATE
from launcher.storage.store import Store

DATA_VERSION = 1
"""Raised when the same recipe and data begin to give other rows."""

# A file written again within its clock's tick keeps size and time; a hash is remembered once it is older than this.
SETTLED_S = 2.0
CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class SourceIdentity:
    """What one source of a recipe is, as far as its file's first row and content hash tell."""

    name: str
    source: Source
    path: Path
    content: str
    """Hash of the file."""
    stamp: tuple[int, int, int]
    """Size, time and inode when the content was hashed."""
    form: Form
    loss: str

    def fingerprint(self, tokenizer: str, sequence_length: int) -> str:
        """Return what the prepared source is known by."""
        chosen = self.source.model_dump(mode="json", include={"separator", "holdout", "too_long", "packing"})
        return fingerprint(DATA_VERSION, self.content, tokenizer, self.form, self.loss, chosen, sequence_length)


def identify_sources(recipe: Recipe, store: Store) -> tuple[SourceIdentity, ...]:
    """Return all sources of a recipe. Raises DataInvalid that tells of every one that cannot be read."""
    identities: list[SourceIdentity] = []
    problems: list[str] = []
    for name, source in recipe.sources.items():
        try:
            identities.append(_identify(name, source, store))
        except DataInvalid as error:
            problems.append(f"sources.{name}: {error}")
    if problems:
        raise DataInvalid("\n".join(problems))
    return tuple(identities)


def tokenizer_folder(recipe: Recipe) -> Path | None:
    """Return the directory that the tokenizer is taken from, or None when one is trained."""
    choice = recipe.model.tokenizer
    path = choice.path if choice is not None else recipe.model.path
    return None if path is None else model_folder(path, weights=False)


def tokenizer_fingerprint(recipe: Recipe, sources: tuple[SourceIdentity, ...], store: Store) -> str:
    """Return what the recipe's tokenizer is known by. Raises UserError if its directory has no files of one."""
    folder = tokenizer_folder(recipe)
    if folder is None:
        assert recipe.model.tokenizer is not None and recipe.model.tokenizer.train is not None
        learnt_from = [(source.content, source.form) for source in by_content(sources)]
        return fingerprint(DATA_VERSION, recipe.model.tokenizer.train, CHAT_TEMPLATE, learnt_from)
    files = {name: content_hash(folder / name, store) for name in TOKENIZER_FILES if (folder / name).is_file()}
    if not files:
        raise UserError(f"{folder}: has no tokenizer; say where it is with model.tokenizer.path")
    return fingerprint(DATA_VERSION, files)


def by_content(sources: tuple[SourceIdentity, ...]) -> list[SourceIdentity]:
    """Return sources in an order that their names and places in the recipe do not change."""
    return sorted(sources, key=lambda source: (source.content, source.form))


def content_hash(path: Path, store: Store) -> str:
    """Return the hash of a file's content, remembered in the store by path, size, time and inode."""
    stamp = stamp_of(path)
    key = f"hashes/{fingerprint(str(path), *stamp)}"
    try:
        return store.get(key).decode()
    except KeyError:
        digest = _hash(path)
    if stamp == stamp_of(path) and time.time() - stamp[1] / 1e9 > SETTLED_S:
        store.put(key, digest.encode())
    return digest


def stamp_of(path: Path) -> tuple[int, int, int]:
    """Return what changes when a file is written: size, time in nanoseconds, inode."""
    status = os.stat(path)  # noqa: PTH116  (one call for the three)
    return status.st_size, status.st_mtime_ns, status.st_ino


def _identify(name: str, source: Source, store: Store) -> SourceIdentity:
    path = Path(source.paths[0])
    first = first_row(path)
    try:
        form = source.format or find_form(first.columns)
    except ValueError as error:
        raise DataInvalid(f"{where(path, first.line)}: {error}") from None
    try:
        loss = loss_of(source, form)
    except ValueError as error:
        raise DataInvalid(str(error)) from None
    stamp = stamp_of(path)
    return SourceIdentity(name, source, path, content_hash(path, store), stamp, form, loss)


def _hash(path: Path) -> str:
    digest = blake2b(digest_size=16)
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
