"""The chat template as a program: messages in, text out, the same on any day.

Decides what of a message the template sees, and probes how it begins and ends an assistant turn. Finding what is learnt
in the text is `rendering.chat`.
"""

import re
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from launcher.data.rendering.marks import MARK, common_start
from launcher.data.rendering.messages import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Tools = list[dict[str, Any]] | None
"""What a chat may call."""
# Llama 3.1 and others write today's date, which would make the data of one recipe another each day. A macro hides the
# function of that name; the date is the one that Llama's template falls back to. Jinja drops the last line break here,
# so the template still begins at the beginning of a line.
PINNED_DATE = """\
{%- macro strftime_now(format) -%}
{{- format | replace('%d', '26') | replace('%b', 'Jul') | replace('%B', 'July') | replace('%m', '07')
 | replace('%Y', '2024') | replace('%y', '24') | replace('%A', 'Friday') | replace('%a', 'Fri')
 | replace('%H', '00') | replace('%M', '00') | replace('%S', '00') -}}
{%- endmacro %}
"""
ASKED: list[Message] = [{"role": "user", "content": "Hello."}]
THOUGHT = re.compile("think|thought", re.IGNORECASE)
"""In what a template writes before the words of a turn without thoughts: a block that is empty, and not learnt."""
HIDDEN = ("learn",)
"""What the data says to launcher, not to the template."""


class Template:
    """A tokenizer's chat template."""

    def __init__(self, tokenizer: "PreTrainedTokenizerFast") -> None:
        if not tokenizer.chat_template:
            raise ValueError("the tokenizer has no chat template, so messages cannot be rendered; say one in the "
                             "recipe (model.chat_template: plain, or another shipped name, or a Jinja file), or take "
                             "the tokenizer of an instruction-tuned model")
        self._tokenizer = tokenizer
        self._pinned: dict[bool, str] = {}
        names = _names(tokenizer)
        self.end_token = re.compile(rf"\s*(?:{names})") if names else None
        """Matches a token that may end a turn, with white space before it."""
        self._end_tokens = re.compile(rf"\s*(?:{names})+") if names else None
        """Matches several without white space between."""
        self.header, self.lead, self.ends = self._probe()

    def write(self, messages: Sequence[Message], tools: Tools = None, *, prompt: bool = False) -> str:
        """Return a chat's text, with the header of an assistant turn after it if `prompt`."""
        shown = [{name: value for name, value in message.items() if name not in HIDDEN} for message in messages]
        try:
            # Not tokenized here, and never a dict: transformers 5 returns one by default.
            return str(self._tokenizer.apply_chat_template(
                shown, tools=tools or None, chat_template=self._text(bool(tools)),  # pyright: ignore[reportArgumentType]
                add_generation_prompt=prompt, tokenize=False, return_dict=False))
        except Exception as error:  # a template is a program, and its own: it may raise anything
            raise ValueError(f"the chat template refuses this chat: {' '.join(str(error).split())}") from None

    @cached_property
    def writes_thoughts(self) -> bool:
        """Whether reasoning_content is written at all."""
        turn = {"role": "assistant", "content": "Hi.", "reasoning_content": MARK.format(0)}
        try:
            return MARK.format(0) in self.write([*ASKED, turn])
        except ValueError:
            return False

    def _text(self, tools: bool) -> str:
        """Return the template's text. Some tokenizers have one of their own for chats with tools."""
        if tools not in self._pinned:
            text = self._tokenizer.get_chat_template(tools=[{}] if tools else None)
            self._pinned[tools] = PINNED_DATE + text if "strftime_now" in text else text
        return self._pinned[tools]

    def end_after(self, text: str, start: int) -> int | None:
        """Return where the tokens end that end a turn whose words end at a place; None if there are none."""
        if self.ends == ():
            # Some other token may follow where another turn does; the model would learn to go on with that one.
            return None
        if self.ends and text.startswith(self.ends[0], start):
            return start + len(self.ends[0])
        match = self.end_token.match(text, start) if self.end_token else None
        return match.end() if match else None

    def _probe(self) -> tuple[str, str, tuple[str, ...] | None]:
        """Return an assistant turn's header, what the model writes between it and the words, and what ends the turn:
        as many tokens as may be, or the first. That stays None where the template does not tell: it may refuse such a
        short chat."""
        try:
            before, prompted = self.write(ASKED), self.write(ASKED, prompt=True)
            whole = self.write([*ASKED, {"role": "assistant", "content": MARK.format(0)}])
        except ValueError:
            return "", "", None
        header = prompted[common_start(before, prompted):]
        shown, mark, after = whole.partition(MARK.format(0))
        between = shown.removeprefix(prompted) if shown.startswith(prompted) else ""
        written = between.isspace() or (header and not THOUGHT.search(between))
        if not mark:
            return header, "", None
        ends = [pattern.match(after) for pattern in (self._end_tokens, self.end_token) if pattern]
        return header, between if written else "", tuple(dict.fromkeys(end[0] for end in ends if end))


def _names(tokenizer: "PreTrainedTokenizerFast") -> str:
    """Return a pattern of what may end a turn."""
    added = {str(token) for token in tokenizer.added_tokens_decoder.values()}
    ends = added if tokenizer.bos_token == tokenizer.eos_token else added - {str(tokenizer.bos_token)}
    # Longest first, so that no token hides another that begins with it.
    return "|".join(re.escape(token) for token in sorted(ends, key=lambda token: (-len(token), token)))
