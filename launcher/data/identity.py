"""What a prepared source or tokenizer is known by: fingerprints of all that shapes it, and of nothing else.

Decides what a fingerprint covers: content, not names or paths. Imports only what is light, because every start of a
run asks whether its data is prepared already.
"""

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from launcher.core.document import fingerprint
from launcher.core.errors import DataInvalid, UserError
from launcher.core.recipe import Recipe
from launcher.core.recipe_sources import Form, LossOn, Source
from launcher.data.hashes import content_hash
from launcher.data.model_files import TOKENIZER_FILES, model_folder
from launcher.data.reading import Row, SourceFiles, open_holdout, open_source
from launcher.data.rendering.chat_templates import template_text
from launcher.data.rendering.fields import Fields
from launcher.data.rendering.forms import find_form, loss_of, missing_columns
from launcher.data.tokenizer import CHAT_TEMPLATE
from launcher.storage.store import Store

DATA_VERSION = 3
"""Raised when the same recipe and data begin to give other rows."""
CHOSEN = {"fields", "separator", "holdout", "too_long", "packing", "duplicates", "skip_bad", "max_unlearnable"}
"""What a recipe says of a source that shapes its rows, or whether they may be made of it at all."""


@dataclass(frozen=True, slots=True)
class SourceIdentity:
    """What one source of a recipe is, as far as its first row and the hash of its files tell."""

    name: str
    source: Source
    files: SourceFiles
    holdout: SourceFiles | None
    """Where the holdout is files of its own."""
    content: str
    """Hash of all files."""
    holdout_content: str | None
    form: Form
    loss: LossOn

    def fingerprint(self, tokenizer: str, sequence_length: int) -> str:
        """Return what the prepared source is known by."""
        # What was prepared before there were these stays so.
        said = CHOSEN | {name for name in ("few_shot", "order") if getattr(self.source, name) is not None}
        chosen = self.source.model_dump(mode="json", include=said, exclude={"holdout": {"path"}})
        return fingerprint(DATA_VERSION, self.content, self.holdout_content, tokenizer, self.form, self.loss, chosen,
                           sequence_length)


def identify_sources(recipe: Recipe, store: Store) -> tuple[SourceIdentity, ...]:
    """Return all sources of a recipe. Raises DataInvalid that tells of every one that cannot be read."""
    identities: list[SourceIdentity] = []
    problems: list[str] = []
    for name, source in recipe.sources.items():
        try:
            identities.append(_identify(name, _with_seed(source, recipe.seed), store))
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
        learnt_from = [(source.content, source.form, source.source.fields) for source in by_content(sources)]
        template = chat_template(recipe) or CHAT_TEMPLATE
        return fingerprint(DATA_VERSION, recipe.model.tokenizer.train, template, learnt_from)
    files = {name: content_hash(folder / name, store) for name in TOKENIZER_FILES if (folder / name).is_file()}
    if not files:
        raise UserError(f"{folder}: has no tokenizer; say where it is with model.tokenizer.path")
    return fingerprint(DATA_VERSION, files, chat_template(recipe))


def chat_template(recipe: Recipe) -> str | None:
    """Return the text of the chat template that the recipe puts in place of the tokenizer's own, if it does."""
    choice = recipe.model.chat_template
    return None if choice is None else template_text(choice)


def by_content(sources: tuple[SourceIdentity, ...]) -> list[SourceIdentity]:
    """Return sources in an order that their names and places in the recipe do not change."""
    return sorted(sources, key=lambda source: (source.content, source.form))


def _with_seed(source: Source, seed: int) -> Source:
    """Return a source whose few shots, if it has any, have a seed: the run's where they say none."""
    few = source.few_shot
    if few is None or few.seed is not None:
        return source
    return source.model_copy(update={"few_shot": few.model_copy(update={"seed": seed})})


def _identify(name: str, source: Source, store: Store) -> SourceIdentity:
    files, holdout = open_source(source, store), open_holdout(source, store)
    # First what is quick to find wrong, then the hash of what may be large.
    first = files.first_row() if files.light else _first_row(files, store)
    fields = _fields(source)
    try:
        form = source.format or find_form(first.columns, fields)
    except ValueError as error:
        raise DataInvalid(f"{first.place}: {error}{files.hint()}") from None
    try:
        loss = loss_of(source, form)
    except ValueError as error:
        raise DataInvalid(str(error)) from None
    for each in (files, holdout):
        if each is not None:
            _check_columns(each, form, fields)
    held = None if holdout is None else holdout.content(store)
    return SourceIdentity(name, source, files, holdout, files.content(store), held, form, loss)


def _fields(source: Source) -> Fields | None:
    try:
        return Fields(source.fields) if source.fields else None
    except ValueError as error:
        raise DataInvalid(str(error)) from None


def _first_row(files: SourceFiles, store: Store) -> Row:
    """Return the first row, remembered in the store because reading it takes the network or a heavy import."""
    # Its place is remembered too, and a copy of the same content lies elsewhere.
    key = f"hashes/first-{fingerprint(files.files, files.content(store))}"
    try:
        return Row(**json.loads(store.get(key)))
    except KeyError:
        first = files.first_row()
    with suppress(TypeError):  # a column that JSON does not know, such as a date
        store.put(key, json.dumps(asdict(first)).encode())
    return first


def _check_columns(files: SourceFiles, form: Form, fields: Fields | None) -> None:
    """Raise DataInvalid for a table that lacks the form's columns: not after hours, when its rows are reached."""
    for path, names in files.tables():
        columns: dict[str, Any] = dict.fromkeys(names, "")
        try:
            columns = fields.columns(columns) if fields else columns
        except ValueError as error:
            raise DataInvalid(f"{path}: {error}") from None
        if missing := missing_columns(columns, form):
            raise DataInvalid(f"{path}: no column {missing[0]!r}, which {form} needs; it has {', '.join(names)}; all "
                              "files of a source have the columns of one form")
