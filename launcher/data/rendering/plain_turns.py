"""Trained turns that are nothing but words: learnt are the words and the token that ends the turn.

Decides where such a turn begins and ends in the one full rendering, and gives up where the template does more with the
words than to write them. Turns with thoughts or calls are `rendering.turns_in_passages`.
"""

from collections.abc import Sequence

from launcher.data.rendering.marks import Found, find_words
from launcher.data.rendering.messages import Message
from launcher.data.rendering.rendered import Span
from launcher.data.rendering.templating import Template, Tools
from launcher.data.rendering.turns import mark_plain

NO_END = ("the chat template writes no token that ends an assistant turn, so the model would never learn to stop; end "
          "those turns with the eos token in the template")


def plain_spans(template: Template, text: str, messages: Sequence[Message], turns: list[int],
                tools: Tools) -> tuple[Span, ...] | None:
    """Return the spans of turns that are nothing but words, or None if the template does more with them."""
    if not turns:
        return ()
    marked = template.write(mark_plain(messages, turns), tools)
    found = find_words(text, marked, [messages[turn]["content"] for turn in turns])
    if found is None or [place.mark for place in found] != list(range(len(turns))):
        return None
    return tuple(plain_span(template, text, place) for place in found)


def plain_span(template: Template, text: str, found: Found) -> Span:
    """Return the span of plain words: with the white space before them that the model writes, and their end token."""
    start, words_end = found.words
    end = template.end_after(text, words_end)
    if end is None or end > found.until:
        raise ValueError(NO_END)
    return with_lead(template, text, start), end


def with_lead(template: Template, text: str, start: int) -> int:
    """Return where a turn begins whose words begin at `start`."""
    return start - len(template.lead) if template.lead and text.endswith(template.lead, 0, start) else start
