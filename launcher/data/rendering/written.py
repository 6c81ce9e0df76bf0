"""Whether a chat template has written all of a chat: what it leaves out in silence would be missing for ever.

Decides what must be in the text: all turns but the assistant's, the names of tools and of calls. Words of trained turns
are checked exactly in `rendering.chat`; earlier thoughts are a template's to drop, as it does when the model is used.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from launcher.data.rendering.messages import Message

OTHER = "take a template that does (model.chat_template), or leave it out of the data"


def check_written(text: str, messages: Sequence[Message], tools: list[dict[str, Any]] | None) -> None:
    """Raise ValueError that says what the template has left out."""
    for what, words in _expected(messages, tools or []):
        # Templates may write a tool's result as JSON.
        if words not in text and json.dumps(words, ensure_ascii=False)[1:-1] not in text:
            raise ValueError(f"the chat template does not write {what}; {OTHER}")


def _expected(messages: Sequence[Message], tools: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    for tool in tools:
        function = tool.get("function", tool)
        if isinstance(function, dict) and isinstance(name := function.get("name"), str):
            yield f"the tool {name!r}", name
    for place, message in enumerate(messages, 1):
        if message["role"] != "assistant":
            yield f"message {place}, a {message['role']} turn", message["content"].strip()
        for call in message.get("tool_calls", ()):
            yield f"the call of {call['function']['name']!r} in message {place}", call["function"]["name"]
