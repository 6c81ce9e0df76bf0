"""Text becomes tokens, and the learnt characters become learnt tokens.

A token is learnt if it begins inside a learnt span. One that straddles the start of a span is learnt too for the words
in it, without which an answer would lose its first ones; where it holds nothing of the span but white space, it belongs
to the text before. The first token of a document is never learnt: nothing precedes it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from tokenizers import Encoding, Tokenizer

from launcher.data.rendering.rendered import Rendered

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


@dataclass(frozen=True, slots=True)
class Encoded:
    """A document as tokens."""

    tokens: np.ndarray
    """int32 [n]"""
    supervised: np.ndarray
    """bool [n]"""


class Encoder:
    """Tokenizes batches of renderings."""

    def __init__(self, tokenizer: "PreTrainedTokenizerFast") -> None:
        self._bos = _own_bos(tokenizer)
        self._eos = tokenizer.eos_token_id
        self._backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        # It would trim white space off the offsets, and a token's true beginning decides whether it is learnt.
        self._backend.post_processor = None  # pyright: ignore[reportAttributeAccessIssue]
        self._backend.no_truncation()
        self._backend.no_padding()

    def encode(self, documents: Sequence[Rendered]) -> list[Encoded]:
        """Return the tokens of each document. Raises ValueError if the tokenizer lacks the end of text they need."""
        if self._eos is None and any(document.whole for document in documents):
            raise ValueError("the tokenizer has no eos token, so the model could not learn to stop; add one to it")
        encodings = self._backend.encode_batch([document.text for document in documents], add_special_tokens=False)
        return [self._encoded(encoding, document) for encoding, document in zip(encodings, documents, strict=True)]

    def _encoded(self, encoding: Encoding, document: Rendered) -> Encoded:
        before = [self._bos] if document.whole and self._bos is not None else []
        ids = [*before, *encoding.ids, *([self._eos] if document.whole else [])]
        # A text may bring its own first token.
        if before and encoding.ids[:1] == before:
            before, ids = [], ids[1:]
        supervised = np.zeros(len(ids), dtype=bool)
        for start, end in document.spans:
            low, high = _first_token_from(encoding, start), _first_token_from(encoding, end)
            while low and _straddles(encoding, low - 1, start, document.text):
                low -= 1
            supervised[len(before) + low:len(before) + high] = True
        if document.whole and document.spans:
            supervised[-1] = True
        supervised[:1] = False
        return Encoded(np.array(ids, dtype=np.int32), supervised)


def _own_bos(tokenizer: "PreTrainedTokenizerFast") -> int | None:
    """Return the first token if the tokenizer's own post-processor writes one."""
    ids = tokenizer.backend_tokenizer.encode("a", add_special_tokens=True).ids
    return tokenizer.bos_token_id if tokenizer.bos_token_id in ids[:1] else None


def _straddles(encoding: Encoding, token: int, start: int, text: str) -> bool:
    """Return whether a token that begins before a span holds words of it."""
    characters = encoding.token_to_chars(token)
    return characters is not None and characters[1] > start and not text[start:characters[1]].isspace()


def _first_token_from(encoding: Encoding, character: int) -> int:
    """Return the first token that begins at or after a character; the number of tokens if there is none.

    Several tokens may share one character (bytes of an emoji), and a normalizer may leave characters without any.
    """
    if character == 0:
        return 0
    total = len(encoding.ids)
    last = encoding.token_to_chars(total - 1) if total else None
    while last is not None and character < last[1]:
        token = encoding.char_to_token(character)
        if token is not None:
            begins = encoding.token_to_chars(token)
            while begins is not None and begins[0] < character:
                token += 1
                begins = encoding.token_to_chars(token) if token < total else None
            return token
        character += 1
    return total
