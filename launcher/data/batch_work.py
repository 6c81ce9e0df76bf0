"""What is done to one batch of rows, in whichever process: parse, render, tokenize, cut to length, hash.

Decides which rows are bad and which documents are left out, and counts them; whether so many may be is `data.building`.
Only numbers go back, so that little crosses between processes.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import isfinite, nan
from pathlib import Path
from typing import Any

import numpy as np

from launcher.core.errors import DataInvalid
from launcher.core.recipe_sources import Form, LossOn, TooLong
from launcher.core.suggestions import did_you_mean
from launcher.data.encoding import Encoded, Encoder
from launcher.data.holdout import document_hash
from launcher.data.lengths import fit
from launcher.data.packed import TOKEN
from launcher.data.packed_writing import marked
from launcher.data.reading import BadRow, RowBatch
from launcher.data.rendering.forms import Content, texts_of
from launcher.data.rendering.rendered import Rendered
from launcher.data.rendering.renderer import Renderer
from launcher.data.tokenizer import load_tokenizer

PLACES = 3
"""How many bad rows of a batch are remembered by place."""
BEYOND = "beyond"
"""Counts those of `dropped_empty` that would teach something if rows were longer."""


@dataclass(frozen=True, slots=True)
class Instructions:
    """How the rows of a source become documents."""

    place: str
    """How messages name the source as a whole."""
    tokenizer: str
    """Its folder."""
    form: Form
    fields: tuple[tuple[str, str], ...] | None
    loss: LossOn
    separator: str | None
    limit: int
    """Tokens of the longest document."""
    too_long: TooLong
    order_column: str | None = None
    """The column that a curriculum goes by."""


@dataclass(frozen=True, slots=True)
class TokenizedBatch:
    """The documents of a batch, the parts of split-up ones each by itself, one after the other."""

    tokens: np.ndarray
    """Marked, see `data.packed`."""
    lengths: np.ndarray
    supervised: np.ndarray
    indexes: np.ndarray
    hashes: np.ndarray
    counts: Mapping[str, int]
    """By the names of SourceIndex."""
    bad: tuple[str, ...]
    """The first rows that cannot be used: place and problem."""
    done: int
    """As the RowBatch says."""
    keys: np.ndarray | None
    """What a curriculum orders documents by, where that is a column."""


@dataclass(frozen=True, slots=True)
class _Document:
    index: int
    hash: int
    rendered: Rendered
    key: float


def tokenize(instructions: Instructions, batch: RowBatch) -> TokenizedBatch:
    """Return the documents of a batch. Raises DataInvalid for what no row can mend, such as a missing template."""
    try:
        return _maker(instructions).make(batch)
    except ValueError as error:
        raise DataInvalid(f"{instructions.place}: {error}") from None


def forget() -> None:
    """Free what this process has loaded."""
    _maker.cache_clear()


@lru_cache(maxsize=8)
def _maker(instructions: Instructions) -> "_Maker":
    return _Maker(instructions)


class _Maker:
    """Makes documents of one source: its tokenizer and template are loaded once in a process."""

    def __init__(self, instructions: Instructions) -> None:
        tokenizer = load_tokenizer(Path(instructions.tokenizer))
        self._instructions = instructions
        self._encoder = Encoder(tokenizer)
        fields = None if instructions.fields is None else dict(instructions.fields)
        self._renderer = Renderer(tokenizer, instructions.form, fields, instructions.loss, instructions.separator)

    def make(self, batch: RowBatch) -> TokenizedBatch:
        """Return the documents of a batch."""
        counts: Counter[str] = Counter(read=len(batch))
        bad: list[str] = []
        rendered = list(self._rendered(batch, counts, bad))
        encoded = self._encoder.encode([document.rendered for document in rendered])
        parts: list[Encoded] = []
        origins: list[_Document] = []
        for document, each in zip(rendered, encoded, strict=True):
            for part in self._parts(each, counts):
                parts.append(part)
                origins.append(document)
        return TokenizedBatch(
            np.concatenate([np.zeros(0, TOKEN), *(marked(part.tokens, part.supervised) for part in parts)]),
            np.array([len(part.tokens) for part in parts], np.int32),
            np.array([np.count_nonzero(part.supervised) for part in parts], np.int32),
            np.array([origin.index for origin in origins], np.int64),
            np.array([origin.hash for origin in origins], np.uint64), dict(counts), tuple(bad), batch.done,
            None if self._instructions.order_column is None else np.array([each.key for each in origins], np.float64))

    def _rendered(self, batch: RowBatch, counts: Counter[str], bad: list[str]) -> Iterator[_Document]:
        for row in batch.rows():
            if isinstance(row, BadRow):
                problem = row.problem
            else:
                try:
                    yield self._document(row.index, row.columns, counts)
                    continue
                except ValueError as error:
                    problem = str(error)
            counts["skipped"] += 1
            if len(bad) < PLACES:
                bad.append(f"{row.place}: {problem}")

    def _document(self, index: int, columns: dict[str, Any], counts: Counter[str]) -> _Document:
        content = self._renderer.content(columns)
        rendered = self._renderer.render(content)
        counts["empty_answers"] += has_empty_answer(content)
        column = self._instructions.order_column
        key = 0.0 if column is None else number_in(columns, column)
        return _Document(index, document_hash(texts_of(content)), rendered, key)

    def _parts(self, document: Encoded, counts: Counter[str]) -> list[Encoded]:
        limit, too_long = self._instructions.limit, self._instructions.too_long
        longer = len(document.tokens) > limit
        if longer and too_long == "drop":
            counts["dropped_long"] += 1
            return []
        parts = fit(document, limit, too_long)
        if not parts:
            counts["dropped_empty"] += 1
            counts[BEYOND] += longer and bool(document.supervised.any())
        elif longer:
            counts["truncated" if too_long == "truncate" else "split_up"] += 1
        return parts


def number_in(columns: Mapping[str, Any], column: str) -> float:
    """Return the number in a column, also one that is written as text. Raises ValueError if there is none."""
    if column not in columns:
        raise ValueError(f"order.column: no column {column!r}; {did_you_mean(column, columns)}")
    value = columns[column]
    try:
        number = float(value) if isinstance(value, int | float | str) else nan
    except ValueError:
        number = nan
    if not isfinite(number):
        raise ValueError(f"order.column: {column} is {value!r:.40}, which is no number to order by")
    return number


def has_empty_answer(content: Content) -> bool:
    """Return whether an answer, or a text as a whole, is nothing but white space."""
    answer = next(content[name] for name in ("messages", "completion", "output", "text") if name in content)
    if isinstance(answer, str):
        return not answer.strip()
    return any(message["role"] == "assistant" and not (message.get("content") or "").strip()
               and not message.get("tool_calls") for message in answer)
