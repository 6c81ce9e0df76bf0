"""What becomes of documents that are longer than a row: the same with packing and without."""

from typing import assert_never

from launcher.core.recipe_sources import TooLong
from launcher.data.encoding import Encoded


def fit(document: Encoded, limit: int, too_long: TooLong) -> list[Encoded]:
    """Return the parts of a document of at most `limit` tokens that have something to learn."""
    if len(document.tokens) <= limit:
        parts = [document]
    else:
        match too_long:
            case "truncate":
                parts = [_part(document, 0, limit)]
            case "drop":
                parts = []
            case "split":
                parts = [_part(document, start, limit) for start in range(0, len(document.tokens), limit)]
            case _:
                assert_never(too_long)
    return [part for part in parts if part.supervised.any()]


def _part(document: Encoded, start: int, length: int) -> Encoded:
    supervised = document.supervised[start:start + length].copy()
    supervised[:1] = False  # a part stands alone in its row: nothing precedes its first token
    return Encoded(document.tokens[start:start + length], supervised)
