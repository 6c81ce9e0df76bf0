"""Chats through a chat template, with the assistant's words found in the one full rendering.

The rendering is made twice: as it is, and with a mark in place of the trained turns' words. Cut at the marks, the
second gives everything around those words; put back together with the real words it must give the first, else the row
is refused. So masks never rest on tokenizing a prefix, nor on searching for an answer that may occur elsewhere too.

Learnt are the words of a trained turn and the token that ends it. Scaffolding such as `<|im_start|>assistant` is not,
nor is an empty think block that the template writes itself. Of turns with thoughts or tool calls, everything that the
model would write is learnt: from the header on, as far as the template writes it at all.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from launcher.core.recipe_sources import LossOn
from launcher.data.rendering.marks import FOUND_MARK
from launcher.data.rendering.messages import Message
from launcher.data.rendering.plain_turns import plain_spans
from launcher.data.rendering.rendered import Rendered
from launcher.data.rendering.templating import Template, Tools
from launcher.data.rendering.turns import is_plain, trained_turns
from launcher.data.rendering.turns_in_passages import ChatInPassages
from launcher.data.rendering.written import check_written

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


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
            spans = plain_spans(self._template, text, messages, turns, tools)
        if spans is None:
            spans = ChatInPassages(self._template, text, messages, tools, turns).spans()
        return Rendered(text, spans, whole=False)
