"""Everything a recipe's data needs before training: its tokenizer and its sources, prepared once and then found.

Decides what is missing and has it made. `look_up` is what every start of a run asks first, so nothing heavy is imported
before something has to be made. Two processes may prepare the same recipe at once: they put equal objects atomically.
"""

from collections.abc import Callable, Iterator
from itertools import islice

from launcher.core.errors import DataInvalid
from launcher.core.recipe import Recipe
from launcher.core.source_index import Prepared, SourceIndex, TokenizerFacts
from launcher.data.forms import content_of, texts_of
from launcher.data.identity import (
    SourceIdentity,
    by_content,
    identify_sources,
    tokenizer_fingerprint,
    tokenizer_folder,
)
from launcher.data.jsonl import read_rows, where
from launcher.data.keys import index_key
from launcher.data.tokenizer import store_copied, store_trained, stored_facts, stored_tokenizer
from launcher.storage.store import Store

TOKENIZER_ROWS = 50_000
"""Rows of each source that a tokenizer is trained on: more change hardly a merge and cost minutes."""


def look_up(recipe: Recipe, store: Store) -> Prepared | None:
    """Return what preparation left in the store, or None if something is missing. Raises DataInvalid or UserError."""
    sources = identify_sources(recipe, store)
    facts = stored_facts(store, tokenizer_fingerprint(recipe, sources, store))
    if facts is None:
        return None
    found: dict[str, SourceIndex] = {}
    for source in sources:
        index = _stored_index(source, source.fingerprint(facts.fingerprint, recipe.sequence_length), store)
        if index is None:
            return None
        found[source.name] = index
    return Prepared(tokenizer=facts, sources=found)


def prepare(recipe: Recipe, store: Store, progress: Callable[[str, int, int], None] | None = None) -> Prepared:
    """Make what is missing in the store and return all of it. `progress` gets a source's name, bytes done and in all.

    Raises DataInvalid, with file and row, for data that cannot be read, rendered or masked.
    """
    sources = identify_sources(recipe, store)
    fingerprint = tokenizer_fingerprint(recipe, sources, store)
    facts = stored_facts(store, fingerprint) or _make_tokenizer(recipe, sources, fingerprint, store)
    indexes = {source.name: _prepare_source(source, facts, recipe.sequence_length, store, progress)
               for source in sources}
    return Prepared(tokenizer=facts, sources=indexes)


def _prepare_source(source: SourceIdentity, facts: TokenizerFacts, sequence_length: int, store: Store,
                    progress: Callable[[str, int, int], None] | None) -> SourceIndex:
    fingerprint = source.fingerprint(facts.fingerprint, sequence_length)
    if (index := _stored_index(source, fingerprint, store)) is not None:
        return index
    from launcher.data.building import SourceBuilder

    tokenizer = stored_tokenizer(store, facts.fingerprint)
    return SourceBuilder(source, tokenizer, sequence_length).build(store, fingerprint, progress)


def _stored_index(source: SourceIdentity, fingerprint: str, store: Store) -> SourceIndex | None:
    try:
        index = SourceIndex.from_json(store.get(index_key(fingerprint)))
    except KeyError:
        return None
    # The same data may have been prepared under another name.
    return index.model_copy(update={"source": source.name})


def _make_tokenizer(recipe: Recipe, sources: tuple[SourceIdentity, ...], fingerprint: str,
                    store: Store) -> TokenizerFacts:
    folder = tokenizer_folder(recipe)
    if folder is not None:
        return store_copied(store, fingerprint, folder)
    assert recipe.model.tokenizer is not None and recipe.model.tokenizer.train is not None
    texts = (text for source in by_content(sources) for text in _texts(source))
    return store_trained(store, fingerprint, texts, recipe.model.tokenizer.train.vocab_size)


def _texts(source: SourceIdentity) -> Iterator[str]:
    for row in islice(read_rows(source.path), TOKENIZER_ROWS):
        try:
            yield from texts_of(content_of(row.columns, source.form))
        except ValueError as error:
            raise DataInvalid(f"{where(source.path, row.line)}: {error}") from None
