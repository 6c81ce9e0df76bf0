"""Packed rows as the model will see them, with borders between documents and what is learnt in colour.

Prints what lies in the cache, so that what is shown is what is trained on.
"""

import re
from collections.abc import Iterator
from itertools import groupby, pairwise

import numpy as np
from rich.console import Console
from rich.text import Text

from launcher.core.source_index import Prepared, SourceIndex
from launcher.data.packed import PackedRow, PackedSplit
from launcher.data.tokenizer import stored_tokenizer
from launcher.storage.store import Store

LEARNT = "bold green"
BORDER = "dim"
# Where there are no colours.
BEGIN, END = ">>>", "<<<"

# Data must not move the cursor, recolour or reverse the terminal it is looked at in: all but tab and line feed.
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")

Words = tuple[str, bool]
"""Text, and whether it is learnt."""


def show_rows(prepared: Prepared, store: Store, count: int, console: Console) -> None:
    """Print the first `count` packed rows of each source."""
    tokenizer = stored_tokenizer(store, prepared.tokenizer.fingerprint)
    coloured = console.color_system is not None
    legend = Text("learnt", LEARNT) if coloured else Text(f"{BEGIN}learnt{END}")
    console.print(Text("Text that is ").append_text(legend).append("; the rest is only read."))
    for name, index in prepared.sources.items():
        split = PackedSplit(store, index, "train")
        for number in range(min(count, split.rows)):
            row = split.row(number)
            title = _title(name, number, row, index)
            console.print(Text(f"{title} {'=' * (console.width - len(title) - 1)}".rstrip()))
            for document, tokens, supervised in documents(row):
                console.print(Text(f"-- document {document}: {len(tokens)} tokens, {supervised.sum()} learnt", BORDER))
                pieces = [(str(tokenizer.decode(part)), learnt) for part, learnt in runs(tokens, supervised)]
                console.print(in_colour(pieces, coloured=coloured))


def documents(row: PackedRow) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yield each document of a row: its index in the source, its tokens and which of them are learnt."""
    borders = [*np.flatnonzero(row.positions == 0), len(row.tokens)]
    for index, (start, end) in zip(row.documents, pairwise(borders), strict=True):
        yield int(index), row.tokens[start:end], row.supervised[start:end]


def runs(tokens: np.ndarray, supervised: np.ndarray) -> Iterator[tuple[list[int], bool]]:
    """Yield the tokens in runs that are learnt or not."""
    for learnt, run in groupby(zip(tokens.tolist(), supervised.tolist(), strict=True), key=lambda pair: pair[1]):
        yield [token for token, _ in run], learnt


def in_colour(pieces: list[Words], *, coloured: bool) -> Text:
    """Return the text with what is learnt in colour, or between marks."""
    text = Text()
    for piece, learnt in pieces:
        shown = CONTROLS.sub(lambda found: ascii(found[0])[1:-1], piece)
        if learnt:
            text.append(shown if coloured else f"{BEGIN}{shown}{END}", LEARNT)
        else:
            text.append(shown)
    return text


def _title(name: str, number: int, row: PackedRow, index: SourceIndex) -> str:
    tokens = f"{len(row.tokens):,} of {index.sequence_length:,} tokens"
    count = len(row.documents)
    return f"{name}, row {number} of {index.train.rows:,}: {count} document{'s' * (count != 1)}, {tokens}"
