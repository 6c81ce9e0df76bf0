"""One source from its files to packed rows in the cache.

Decides the order of the work: tokens are written while rows are read, and the index is put last, so a killed
preparation leaves nothing that looks finished. What is refused is `data.intake`, what is held out `data.holdout`.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from launcher.core.errors import DataInvalid
from launcher.core.packing import Packing, one_per_row, pack, pack_in_order
from launcher.core.source_index import SourceIndex, SplitIndex
from launcher.data.batch_work import Instructions
from launcher.data.documents import Selection
from launcher.data.few_shot import few_shots
from launcher.data.holdout import Division, divide
from launcher.data.identity import SourceIdentity
from launcher.data.intake import Intake
from launcher.data.keys import Split, index_key, source_prefix, tokens_key
from launcher.data.packed_writing import put_split, put_tokens
from launcher.data.reading import SourceFiles
from launcher.data.tokenizer import stored_folder
from launcher.data.workforce import Workforce
from launcher.storage.store import Store

Progress = Callable[[str, int, int], None]
"""Called with a source's name, the bytes of its files that are done, and the bytes in all."""
COUNTS = ("skipped", "truncated", "split_up", "dropped_long", "dropped_empty", "empty_answers")


class SourceBuilder:
    """Reads, renders, tokenizes, splits off the holdout and packs."""

    def __init__(self, identity: SourceIdentity, tokenizer: str, sequence_length: int, store: Store) -> None:
        self._identity, self._source, self._limit, self._store = identity, identity.source, sequence_length, store
        self._fingerprint = identity.fingerprint(tokenizer, sequence_length)
        self._place = identity.files.files[0]
        self._train = Intake(self._source, self._place, sequence_length)
        held = identity.holdout
        self._held = None if held is None else Intake(self._source, held.files[0], sequence_length)
        fields = self._source.fields
        self._instructions = Instructions(
            self._place, str(stored_folder(store, tokenizer)), identity.form,
            None if fields is None else tuple(fields.items()), identity.loss, self._source.separator, sequence_length,
            self._source.too_long, self._source.order.column if self._source.order else None)

    def build(self, workforce: Workforce, progress: Progress) -> SourceIndex:
        """Put the prepared source into the store and return its index. Raises DataInvalid at the first bad row."""
        self._store.sweep(source_prefix(self._fingerprint))
        put_tokens(self._store, self._fingerprint, self._read(workforce, progress))
        division = self._divide()
        index = self._index(division, self._put("train", division.train), self._put("holdout", division.holdout))
        # Last: the index says that all arrays are there.
        self._store.put(index_key(self._fingerprint), index.to_json().encode())
        return index

    def _read(self, workforce: Workforce, progress: Progress) -> Iterator[np.ndarray]:
        """Yield the tokens of all files. Raises DataInvalid before the last are stored if the source is refused."""
        files, held = self._identity.files, self._identity.holdout
        size = files.size + (0 if held is None else held.size)

        def report(done: int) -> None:
            progress(self._identity.name, done, size)

        yield from self._take_in(self._instructions, files, self._train, workforce, report)
        if held is not None and self._held is not None:
            # What is held out is not in order, so its file needs no column for that.
            yield from self._take_in(replace(self._instructions, order_column=None), held, self._held, workforce,
                                     lambda done: report(files.size + done))

    def _take_in(self, instructions: Instructions, files: SourceFiles, intake: Intake, workforce: Workforce,
                 report: Callable[[int], None]) -> Iterator[np.ndarray]:
        for batch in workforce.map(instructions, files.batches()):
            report(batch.done)
            yield intake.take(batch)
        files.check_unchanged()
        intake.check()

    def _divide(self) -> Division:
        train = self._train.shelf.documents()
        held = None if self._held is None else self._held.shelf.documents(begin=self._train.tokens)
        division = divide(train, held, self._source.holdout, drop=self._source.duplicates == "drop")
        if not len(division.train):
            self._store.delete(tokens_key(self._fingerprint))
            kept = len(division.holdout.hashes())
            reason = self._train.why_none(kept)
            raise DataInvalid(f"{self._place}: no document is left to train on: {reason}")
        return self._few(division)

    def _few(self, division: Division) -> Division:
        """Return the division with few of the documents to train on, where that is wanted."""
        if self._source.few_shot is None:
            return division
        try:
            return replace(division, train=few_shots(division.train, self._source.few_shot))
        except ValueError as error:
            self._store.delete(tokens_key(self._fingerprint))
            raise DataInvalid(f"{self._place}: {error}") from None

    def _put(self, split: Split, selection: Selection) -> SplitIndex:
        return put_split(self._store, self._fingerprint, split, selection, self._packed(split, selection))

    def _packed(self, split: Split, selection: Selection) -> Packing:
        lengths, order, each = selection.lengths(), self._source.order, self._source.packing == "one_per_row"
        if order is None or split == "holdout":
            return one_per_row(lengths) if each else pack(lengths, self._limit)
        places = selection.ordered(descending=order.direction == "descending")
        if each:
            return Packing(one_per_row(lengths).row_offsets, places)
        return pack_in_order(lengths, self._limit, places)

    def _index(self, division: Division, train: SplitIndex, holdout: SplitIndex) -> SourceIndex:
        intakes = [self._train] if self._held is None else [self._train, self._held]
        counts: dict[str, Any] = {name: sum(intake.counts[name] for intake in intakes) for name in COUNTS}
        bad = tuple(problem for intake in intakes for problem in intake.bad)
        return SourceIndex(source=self._identity.name, fingerprint=self._fingerprint, sequence_length=self._limit,
                           train=train, holdout=holdout, read=self._train.counts["read"],
                           holdout_read=0 if self._held is None else self._held.counts["read"], skipped_first=bad,
                           duplicates=division.duplicates, duplicates_dropped=self._source.duplicates == "drop",
                           overlap=division.overlap, **counts)
