"""Documents as the model will see them, with what is learnt in colour: read back from the packed rows themselves."""

from collections.abc import Iterator
from itertools import groupby, islice, pairwise

import numpy as np
from rich.console import Console
from rich.text import Text

from launcher.core.source_index import Prepared
from launcher.data.packed import PackedSplit
from launcher.data.tokenizer import stored_tokenizer
from launcher.storage.store import Store

LEARNT = "bold green"
# Where there are no colours.
BEGIN, END = ">>>", "<<<"

Piece = tuple[str, bool]
"""Text, and whether it is learnt."""


def show_documents(prepared: Prepared, store: Store, count: int, console: Console) -> None:
    """Print the first `count` packed documents of each source."""
    tokenizer = stored_tokenizer(store, prepared.tokenizer.fingerprint)
    coloured = console.color_system is not None
    legend = Text("learnt", LEARNT) if coloured else Text(f"{BEGIN}learnt{END}")
    console.print(Text("Text that is ").append_text(legend).append("; the rest is only read."))
    for name, index in prepared.sources.items():
        for number, tokens, supervised in islice(documents(PackedSplit(store, index, "train")), count):
            console.rule(f"{name}, document {number}", align="left")
            pieces = [(str(tokenizer.decode(part)), learnt) for part, learnt in runs(tokens, supervised)]
            console.print(marked(pieces, coloured=coloured))


def documents(split: PackedSplit) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yield each document's index in the source, tokens and labels, in the order of the rows."""
    for number in range(split.rows):
        row = split.row(number)
        borders = [*np.flatnonzero(row.positions == 0), len(row.tokens)]
        for index, (start, end) in zip(row.documents, pairwise(borders), strict=True):
            yield int(index), row.tokens[start:end], row.supervised[start:end]


def runs(tokens: np.ndarray, supervised: np.ndarray) -> Iterator[tuple[list[int], bool]]:
    """Yield the tokens in runs that are learnt or not."""
    for learnt, run in groupby(zip(tokens.tolist(), supervised.tolist(), strict=True), key=lambda pair: pair[1]):
        yield [token for token, _ in run], learnt


def marked(pieces: list[Piece], *, coloured: bool) -> Text:
    """Return the text with what is learnt in colour, or between marks."""
    text = Text()
    for piece, learnt in pieces:
        if learnt:
            text.append(piece if coloured else f"{BEGIN}{piece}{END}", LEARNT)
        else:
            text.append(piece)
    return text
