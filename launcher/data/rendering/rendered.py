"""What a rendering is: one text, and which of its characters are learnt.

Making one is `rendering.renderer`; where the characters fall on tokens is `data.encoding`.
"""

from dataclasses import dataclass

Span = tuple[int, int]
"""Characters [start, end)."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """A document as text."""

    text: str
    spans: tuple[Span, ...]
    """What is learnt, in order. None: the document has nothing to learn."""
    whole: bool = True
    """The rendering stands alone, so a first token that the tokenizer itself adds goes before it and the end of text,
    which is learnt, after it. A chat template writes both where it wants them."""
