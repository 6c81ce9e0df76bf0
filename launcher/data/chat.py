"""Chats through the tokenizer's own template, with the assistant's words found in the one full rendering.

The rendering is made twice: as it is, and with a mark in place of each trained turn. Cut at the marks, the second
gives everything around those turns; put back together with the real words it must give the first, else the row is
refused. So masks never rest on tokenizing a prefix, nor on searching for an answer that may occur elsewhere too.

Learnt are the words of a trained turn and the token that ends it. Scaffolding such as `<|im_start|>assistant` is not.
"""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from launcher.data.rendered import Rendered, Span

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Message = dict[str, str]
# Private-use characters: no template strips or splits at them, and text that holds them is refused below.
MARK = "\ue0a5turn{}\ue0a6"
FOUND_MARK = re.compile("\ue0a5turn\\d+\ue0a6")
# Some templates strip the words they are given.
TRIMS: tuple[Callable[[str], str], ...] = (str, str.strip, str.lstrip, str.rstrip)


class ChatTemplate:
    """Renders messages, and marks what is learnt."""

    def __init__(self, tokenizer: "PreTrainedTokenizerFast") -> None:
        if not tokenizer.chat_template:
            raise ValueError("the tokenizer has no chat template, so messages cannot be rendered; take the tokenizer "
                             "of an instruction-tuned model, or put a chat_template.jinja beside it")
        self._tokenizer = tokenizer
        added = {str(token) for token in tokenizer.added_tokens_decoder.values()}
        ends = added if tokenizer.bos_token == tokenizer.eos_token else added - {str(tokenizer.bos_token)}
        # Longest first, so that no token hides another that begins with it.
        names = "|".join(re.escape(token) for token in sorted(ends, key=lambda token: (-len(token), token)))
        self._end = re.compile(rf"\s*(?:{names})") if names else None

    def render(self, messages: list[Message], loss: str) -> Rendered:
        """Return the rendering of a chat. Raises ValueError where the learnt words cannot be told for certain."""
        text = self._apply(messages)
        if loss == "all":
            return Rendered(text, ((0, len(text)),), whole=False)
        turns = _trained_turns(messages, loss)
        if not turns:
            return Rendered(text, (), whole=False)
        around = self._around(messages, turns)
        return Rendered(text, self._spans(text, around, [messages[turn]["content"] for turn in turns]), whole=False)

    def _apply(self, messages: list[Message]) -> str:
        try:
            # Not tokenized here, and never a dict: transformers 5 returns one by default.
            return str(self._tokenizer.apply_chat_template(messages, tokenize=False, return_dict=False))
        except Exception as error:  # a template is a program, and its own: it may raise anything
            raise ValueError(f"the chat template refuses this chat: {error}") from None

    def _around(self, messages: list[Message], turns: list[int]) -> list[str]:
        """Return the parts of the rendering before, between and after the trained turns."""
        if any(FOUND_MARK.search(message["content"]) for message in messages):
            raise ValueError("a message holds the private-use marks that launcher works with; remove them")
        marked = list(messages)
        marks = [MARK.format(turn) for turn in turns]
        for turn, mark in zip(turns, marks, strict=True):
            marked[turn] = {**messages[turn], "content": mark}
        rendered = self._apply(marked)
        if FOUND_MARK.findall(rendered) != marks:
            raise ValueError("the chat template does not write each assistant turn exactly once, so what is learnt "
                             "cannot be told; use loss: last_assistant or loss: all, or another template")
        return FOUND_MARK.split(rendered)

    def _spans(self, text: str, around: list[str], words: list[str]) -> tuple[Span, ...]:
        for trim in TRIMS:
            trimmed = [trim(word) for word in words]
            if _joined(around, trimmed) == text:
                return self._with_ends(around, trimmed)
        raise ValueError("the chat template changes the words of an assistant turn, so what is learnt cannot be told; "
                         "use loss: last_assistant or loss: all, or another template")

    def _with_ends(self, around: list[str], words: list[str]) -> tuple[Span, ...]:
        spans: list[Span] = []
        start = len(around[0])
        for word, after in zip(words, around[1:], strict=True):
            end = self._end.match(after) if self._end else None
            if end is None:
                raise ValueError("the chat template writes no token that ends an assistant turn, so the model would "
                                 "never learn to stop; end those turns with the eos token in the template")
            spans.append((start, start + len(word) + end.end()))
            start += len(word) + len(after)
        return tuple(spans)


def _trained_turns(messages: list[Message], loss: str) -> list[int]:
    """Return the places of the turns that are learnt; an empty turn has nothing to learn."""
    assistant = [place for place, message in enumerate(messages) if message["role"] == "assistant"]
    chosen = assistant[-1:] if loss == "last_assistant" else assistant
    return [place for place in chosen if messages[place]["content"].strip()]


def _joined(around: list[str], words: list[str]) -> str:
    return around[0] + "".join(word + after for word, after in zip(words, around[1:], strict=True))
