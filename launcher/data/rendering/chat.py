"""Chats through a chat template, with the assistant's words found in the one full rendering.

The rendering is made twice: as it is, and with a mark in place of the trained turns' words. Cut at the marks, the
second gives everything around those words; put back together with the real words it must give the first, else the row
is refused. So masks never rest on tokenizing a prefix, nor on searching for an answer that may occur elsewhere too.

Learnt are the words of a trained turn and the token that ends it. Scaffolding such as `<|im_start|>assistant` is not,
nor is an empty think block that the template writes itself. Of turns with thoughts or tool calls, everything that the
model would write is learnt: from the header on, as far as the template writes it at all.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from launcher.core.recipe_sources import LossOn
from launcher.data.rendering.marks import FOUND_MARK, MARK, Found, common_start, find_words
from launcher.data.rendering.messages import Message
from launcher.data.rendering.rendered import Rendered, Span
from launcher.data.rendering.templating import Template
from launcher.data.rendering.turns import is_plain, mark_pieces, mark_plain, trained_turns
from launcher.data.rendering.written import check_written

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Tools = list[dict[str, Any]] | None
ELSE = "use loss: last_assistant or loss: all, or another template (model.chat_template)"
NO_END = ("the chat template writes no token that ends an assistant turn, so the model would never learn to stop; end "
          "those turns with the eos token in the template")


class ChatTemplate:
    """Renders messages, and marks what is learnt."""

    def __init__(self, tokenizer: "PreTrainedTokenizerFast") -> None:
        self._template = Template(tokenizer)

    def render(self, messages: Sequence[Message], loss: LossOn, tools: Tools = None, first: int = 0) -> Rendered:
        """Return the rendering of a chat, in which turns from `first` on may be learnt.

        Raises ValueError where the learnt words cannot be told for certain, or some of the chat is not written.
        """
        text = self._template.write(messages, tools)
        if FOUND_MARK.search(text):
            raise ValueError("a message holds the private-use marks that launcher works with; remove them")
        check_written(text, messages, tools)
        if any("reasoning_content" in message for message in messages) and not self._template.writes_thoughts:
            raise ValueError("the chat template does not write reasoning_content; take one that does "
                             "(model.chat_template: qwen3), or write it into content as <think>...</think>")
        if loss == "all":
            return Rendered(text, ((0, len(text)),), whole=False)
        turns = trained_turns(messages, loss, first)
        spans = None
        if all(is_plain(messages[turn]) for turn in turns):
            spans = self._plain_spans(text, messages, turns, tools)
        if spans is None:
            spans = _Chat(self._template, text, messages, tools, turns).spans()
        return Rendered(text, spans, whole=False)

    def _plain_spans(self, text: str, messages: Sequence[Message], turns: list[int],
                     tools: Tools) -> tuple[Span, ...] | None:
        """Return the spans of turns that are nothing but words, or None if the template does more with them."""
        if not turns:
            return ()
        marked = self._template.write(mark_plain(messages, turns), tools)
        found = find_words(text, marked, [messages[turn]["content"] for turn in turns])
        if found is None or [place.mark for place in found] != list(range(len(turns))):
            return None
        return tuple(plain_span(self._template, text, place) for place in found)


class _Chat:
    """One chat with thoughts or calls, or whose template does something with the words that it is given."""

    def __init__(self, template: Template, text: str, messages: Sequence[Message], tools: Tools,
                 turns: list[int]) -> None:
        self._template, self._text, self._messages, self._tools, self._turns = template, text, messages, tools, turns
        self._marked, self._pieces = mark_pieces(messages, turns)

    def spans(self) -> tuple[Span, ...]:
        """Return what is learnt of the trained turns."""
        found = find_words(self._text, self._template.write(self._marked, self._tools),
                           [piece.words for piece in self._pieces])
        if found is None:
            raise ValueError("the chat template changes the words of an assistant turn, so what is learnt cannot be "
                             f"told; {ELSE}")
        spans = [self._turn(turn, found) for turn in self._turns]
        return tuple(span for span in spans if span is not None)

    def _turn(self, turn: int, all_found: list[Found]) -> Span | None:
        found = self._of_turn(turn, all_found)
        kinds = {self._pieces[place.mark].kind for place in found}
        if not kinds:
            return None
        if kinds == {"words"}:
            return plain_span(self._template, self._text, found[0])
        after = max((place.words[1] for place in all_found if place.words[1] <= found[0].words[0]), default=0)
        start = self._after_header(after, found[0].words[0]) if "thought" in kinds else None
        if start is None:
            start = self._where_it_differs(turn, after, found[0].words[0])
        return start, self._end(turn, found[-1])

    def _of_turn(self, turn: int, all_found: list[Found]) -> list[Found]:
        """Return where the pieces of a turn are. Thoughts may be left out, words and calls may not."""
        found: dict[int, Found] = {}
        for place in all_found:
            piece = self._pieces[place.mark]
            if piece.turn != turn:
                continue
            if place.mark in found and piece.kind != "call":  # tool turns may name the call that they answer
                raise ValueError(f"the chat template writes message {turn + 1} twice, so what is learnt cannot be "
                                 f"told; {ELSE}")
            found.setdefault(place.mark, place)
        if any(piece.turn == turn and piece.kind != "thought" and mark not in found
               for mark, piece in enumerate(self._pieces)):
            raise ValueError(f"the chat template does not write message {turn + 1}, an assistant turn, so it cannot be "
                             f"learnt; {ELSE}")
        return sorted(found.values(), key=lambda place: place.words)

    def _after_header(self, after: int, until: int) -> int | None:
        """Return where the turn's header ends, which is the last one before its words."""
        header = self._template.header
        place = self._text.rfind(header, after, until) if header else -1
        return place + len(header) if place >= 0 else None

    def _where_it_differs(self, turn: int, after: int, until: int) -> int:
        """Return where the rendering begins to differ from that of a turn with plain words in this one's place."""
        plain = [*self._messages[:turn], {"role": "assistant", "content": MARK.format(0)}]
        # Where the turns that follow make no sense without the calls, the chat is cut off before them.
        for chat in ([*plain, *self._messages[turn + 1:]], plain):
            try:
                before, mark, _ = self._template.write(chat, self._tools).partition(MARK.format(0))
            except ValueError:
                continue
            start = common_start(self._text[:until], before)
            if mark and start >= after:
                return with_lead(self._template, self._text, start)
        header = self._after_header(after, until)
        if header is None:
            raise ValueError(f"where message {turn + 1} begins in the chat template's text cannot be told; {ELSE}")
        return header

    def _end(self, turn: int, last: Found) -> int:
        """Return where the turn ends: with the token that ends a chat which ends with this turn."""
        words = MARK.format(last.mark)
        tail = self._template.write(self._marked[:turn + 1], self._tools).rpartition(words)[2]
        tokens = self._template.end_token.finditer(tail) if self._template.end_token else ()
        ends = [tail.rfind(end) + len(end) for end in self._template.ends or () if end in tail]
        ends += [token.end() for token in tokens][-1:]
        if not ends:
            raise ValueError(NO_END)
        found = next((end for end in ends if self._text.startswith(tail[:end], last.words[1])), None)
        if found is None:
            raise ValueError(f"the chat template ends message {turn + 1} otherwise where a turn follows it, so what is "
                             f"learnt cannot be told; {ELSE}")
        return last.words[1] + found


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
