"""Trained turns with thoughts or tool calls, or of templates that do something with the words that they are given.

Each passage of a turn is marked by itself and found again in the one full rendering. Decides where such a turn begins,
which is after its header, and where it ends; everything that the model would write in between is learnt, as far as the
template writes it at all.
"""

from collections.abc import Sequence

from launcher.data.rendering.marks import MARK, Found, common_start, find_words
from launcher.data.rendering.messages import Message
from launcher.data.rendering.plain_turns import NO_END, plain_span, with_lead
from launcher.data.rendering.rendered import Span
from launcher.data.rendering.templating import Template, Tools
from launcher.data.rendering.turns import mark_passages

ELSE = "use loss: last_assistant or loss: all, or another template (model.chat_template)"


class ChatInPassages:
    """One chat with thoughts or calls, or whose template does something with the words that it is given."""

    def __init__(self, template: Template, text: str, messages: Sequence[Message], tools: Tools,
                 turns: list[int]) -> None:
        self._template, self._text, self._messages, self._tools, self._turns = template, text, messages, tools, turns
        self._marked, self._passages = mark_passages(messages, turns)

    def spans(self) -> tuple[Span, ...]:
        """Return what is learnt of the trained turns."""
        found = find_words(self._text, self._template.write(self._marked, self._tools),
                           [passage.words for passage in self._passages])
        if found is None:
            raise ValueError("the chat template changes the words of an assistant turn, so what is learnt cannot be "
                             f"told; {ELSE}")
        spans = [self._turn(turn, found) for turn in self._turns]
        return tuple(span for span in spans if span is not None)

    def _turn(self, turn: int, all_found: list[Found]) -> Span | None:
        found = self._of_turn(turn, all_found)
        kinds = {self._passages[place.mark].kind for place in found}
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
        """Return where the passages of a turn are. Thoughts may be left out, words and calls may not."""
        found: dict[int, Found] = {}
        for place in all_found:
            passage = self._passages[place.mark]
            if passage.turn != turn:
                continue
            if place.mark in found and passage.kind != "call":  # tool turns may name the call that they answer
                raise ValueError(f"the chat template writes message {turn + 1} twice, so what is learnt cannot be "
                                 f"told; {ELSE}")
            found.setdefault(place.mark, place)
        if any(passage.turn == turn and passage.kind != "thought" and mark not in found
               for mark, passage in enumerate(self._passages)):
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
