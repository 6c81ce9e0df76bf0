"""Marks in place of words: how the words are found again in a template's rendering, for certain.

Pure text: which words are marked and what is learnt of them is `rendering.chat`. Words are put back between the parts
that surround the marks; only if that gives the one full rendering is anything told of it.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from launcher.data.rendering.rendered import Span

# Private-use characters: no template strips or splits at them, and text that holds them is refused.
MARK = "\ue0a5turn{}\ue0a6"
FOUND_MARK = re.compile("\ue0a5turn(\\d+)\ue0a6")
# Some templates strip the words they are given, on one side or both, of white space or of line breaks only.
SIDES: tuple[tuple[Callable[[str], str], Callable[[str], str]], ...] = tuple(
    (left, right) for left in (str, str.lstrip, lambda words: words.lstrip("\n"))
    for right in (str, str.rstrip, lambda words: words.rstrip("\n")))


@dataclass(frozen=True, slots=True)
class Found:
    """Where marked words are in the rendering."""

    mark: int
    words: Span
    until: int
    """Where the next marked words begin, or the rendering ends."""


def find_words(text: str, marked: str, words: Sequence[str]) -> list[Found] | None:
    """Return where the words of each mark are in a rendering, given the rendering with the marks; None if putting the
    words back does not give it. Marks may be missing from the rendering, or come again."""
    around = FOUND_MARK.split(marked)  # text, mark, text, mark, ..., text
    if not text.startswith(around[0]):
        return None
    found: list[tuple[int, Span]] = []
    position = len(around[0])
    for mark, after in zip(map(int, around[1::2]), around[2::2], strict=True):
        # At most one way of stripping fits: what is around the words is more than white space.
        end = next((position + len(form) for form in _stripped(words[mark])
                    if text.startswith(form + after, position)), None)
        if end is None:
            return None
        found.append((mark, (position, end)))
        position = end + len(after)
    if position != len(text):
        return None
    ends = [*(start for _, (start, _) in found), len(text)][1:]
    return [Found(mark, span, until) for (mark, span), until in zip(found, ends, strict=True)]


def common_start(one: str, other: str) -> int:
    """Return how many characters two texts have in common from their beginning."""
    differing = (place for place, (left, right) in enumerate(zip(one, other, strict=False)) if left != right)
    return next(differing, min(len(one), len(other)))


def _stripped(words: str) -> Iterator[str]:
    yield words
    if words[:1].isspace() or words[-1:].isspace():
        for left, right in SIDES[1:]:
            yield left(right(words))
