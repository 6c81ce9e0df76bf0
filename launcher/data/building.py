"""One source from its file to packed rows in the cache.

Decides the order of the work, and counts what is cut or left out. The index is put last, so a killed preparation
leaves nothing that looks finished.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice

import numpy as np
from transformers import PreTrainedTokenizerFast

from launcher.core.errors import DataInvalid
from launcher.core.packing import one_per_row, pack
from launcher.core.source_index import SourceIndex, SplitIndex
from launcher.data.encoding import Encoded, Encoder
from launcher.data.forms import in_holdout
from launcher.data.identity import SourceIdentity
from launcher.data.jsonl import JsonRow, read_rows, where
from launcher.data.keys import SPLITS, Split, index_key
from launcher.data.lengths import fit
from launcher.data.packed import Documents, write_split
from launcher.data.rendering import Renderer
from launcher.storage.store import Store

Progress = Callable[[str, int, int], None]
"""Called with a source's name, the bytes of its file that are done, and the bytes in all."""

# Enough to keep all cores tokenizing, few enough that progress is seen.
ROWS_PER_BATCH = 512
COUNTS = ("read", "truncated", "split_up", "dropped_long", "dropped_empty")


class SourceBuilder:
    """Reads, renders, tokenizes, splits off the holdout and packs."""

    def __init__(self, identity: SourceIdentity, tokenizer: PreTrainedTokenizerFast, sequence_length: int) -> None:
        self._identity, self._source = identity, identity.source
        self._limit = sequence_length
        self._shelves: dict[Split, _Shelf] = {split: _Shelf() for split in SPLITS}
        self._counts: Counter[str] = Counter()
        self._encoder = Encoder(tokenizer)
        with _at(str(identity.path)):
            self._renderer = Renderer(tokenizer, identity.form, identity.source.fields, identity.loss,
                                      identity.source.separator)

    def build(self, store: Store, fingerprint: str, progress: Progress | None = None) -> SourceIndex:
        """Put the prepared source into the store and return its index. Raises DataInvalid at the first bad row."""
        path, size = self._identity.path, self._identity.files.size
        for rows in _batches(read_rows(path)):
            self._take(rows)
            if progress is not None:
                progress(self._identity.name, rows[-1].end, size)
        self._identity.files.check_unchanged()
        return self._write(store, fingerprint)

    def _take(self, rows: list[JsonRow]) -> None:
        path, contents, renderings = self._identity.path, [], []
        for row in rows:
            with _at(where(path, row.line)):
                contents.append(self._renderer.content(row.columns))
                renderings.append(self._renderer.render(contents[-1]))
        with _at(str(path)):
            encoded = self._encoder.encode(renderings)
        for row, content, document in zip(rows, contents, encoded, strict=True):
            split: Split = "holdout" if in_holdout(content, self._source.holdout.share) else "train"
            self._shelve(row.index, document, self._shelves[split])

    def _shelve(self, index: int, document: Encoded, shelf: "_Shelf") -> None:
        self._counts["read"] += 1
        too_long = len(document.tokens) > self._limit
        if too_long and self._source.too_long == "drop":
            self._counts["dropped_long"] += 1
            return
        parts = fit(document, self._limit, self._source.too_long)
        if not parts:
            self._counts["dropped_empty"] += 1
            return
        if too_long:
            self._counts["truncated" if self._source.too_long == "truncate" else "split_up"] += 1
        for part in parts:
            shelf.add(index, part)

    def _write(self, store: Store, fingerprint: str) -> SourceIndex:
        if not self._shelves["train"].lengths:
            raise DataInvalid(f"{self._identity.path}: no document is left to train on: {self._why_none()}")
        splits: dict[Split, SplitIndex] = {}
        for split, shelf in self._shelves.items():
            documents = shelf.documents()
            packing = pack(documents.lengths, self._limit) if self._source.packing == "best_fit" else \
                one_per_row(documents.lengths)
            splits[split] = write_split(store, fingerprint, split, documents, packing)
        counts = {name: self._counts[name] for name in COUNTS}
        index = SourceIndex(source=self._identity.name, fingerprint=fingerprint, sequence_length=self._limit,
                            train=splits["train"], holdout=splits["holdout"], format=1, **counts)
        # Last: the index says that all arrays are there.
        store.put(index_key(fingerprint), index.to_json().encode())
        return index

    def _why_none(self) -> str:
        held = len(set(self._shelves["holdout"].indexes))
        return (f"of {self._counts['read']} rows {self._counts['dropped_empty']} have nothing to learn, "
                f"{self._counts['dropped_long']} are longer than {self._limit} tokens and {held} are held out")


class _Shelf:
    """The documents of one split, as they come."""

    def __init__(self) -> None:
        self.indexes: list[int] = []
        self.lengths: list[int] = []
        self._tokens: list[np.ndarray] = []
        self._supervised: list[np.ndarray] = []

    def add(self, index: int, document: Encoded) -> None:
        self.indexes.append(index)
        self.lengths.append(len(document.tokens))
        self._tokens.append(document.tokens)
        self._supervised.append(document.supervised)

    def documents(self) -> Documents:
        return Documents(np.concatenate([np.zeros(0, np.int32), *self._tokens]),
                         np.concatenate([np.zeros(0, bool), *self._supervised]),
                         np.array(self.lengths, np.int32), np.array(self.indexes, np.int64))


def _batches(rows: Iterable[JsonRow]) -> Iterator[list[JsonRow]]:
    iterator = iter(rows)
    while batch := list(islice(iterator, ROWS_PER_BATCH)):
        yield batch


@contextmanager
def _at(place: str) -> Iterator[None]:
    """Name the place of what is wrong with a row, a file or its tokenizer."""
    try:
        yield
    except ValueError as error:
        raise DataInvalid(f"{place}: {error}") from None
