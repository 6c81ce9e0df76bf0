"""From a row's columns to a rendering: the one door to forms, templates and masks.

Decides which way a form is rendered. What a row must hold is `rendering.forms`; chats are `rendering.chat`, everything
else `rendering.plain`; tokens are `data.encoding`. A Renderer is made once in each process that renders.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from launcher.core.recipe_sources import Form, LossOn
from launcher.data.rendering.chat import ChatTemplate
from launcher.data.rendering.fields import Fields
from launcher.data.rendering.forms import Content, content_of
from launcher.data.rendering.plain import render_plain
from launcher.data.rendering.rendered import Rendered

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


class Renderer:
    """Renders the rows of one source. Errors are ValueErrors without a place: whoever reads the rows knows it."""

    def __init__(self, tokenizer: "PreTrainedTokenizerFast", form: Form, fields: Mapping[str, str] | None,
                 loss: LossOn, separator: str | None) -> None:
        """Raise ValueError for fields that cannot be, and for messages without a chat template."""
        self._tokenizer = tokenizer
        self._form: Form = form
        self._fields = Fields(fields)
        self._loss: LossOn = loss
        self._separator = separator
        self._chat = ChatTemplate(tokenizer) if form == "messages" else None

    def content(self, columns: dict[str, Any]) -> Content:
        """Return what of a row is its content. Raises ValueError if a column is missing or holds something else."""
        return content_of(self._fields.columns(columns), self._form)

    def render(self, content: Content) -> Rendered:
        """Return a content's rendering. Raises ValueError where what is learnt cannot be told."""
        if "messages" in content:
            return self._template().render(content["messages"], self._loss, content.get("tools"))
        if isinstance(content.get("completion"), list):
            return self._completion_turns(content)
        return render_plain(content, self._loss, self._separator)

    def _completion_turns(self, content: Content) -> Rendered:
        if self._separator is not None:
            raise ValueError("separator goes with a prompt and a completion of text, not of messages; leave it out")
        loss: LossOn = "assistant" if self._loss == "completion" else self._loss
        messages = content["prompt"] + content["completion"]
        return self._template().render(messages, loss, content.get("tools"), len(content["prompt"]))

    def _template(self) -> ChatTemplate:
        self._chat = self._chat or ChatTemplate(self._tokenizer)
        return self._chat
