"""Which turns of a chat are learnt, and which parts of a turn are its own words.

Pure choice over messages. Where the words are in the rendering is `rendering.plain_turns` and
`rendering.turns_in_passages`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from launcher.core.recipe_sources import LossOn
from launcher.data.rendering.marks import MARK
from launcher.data.rendering.messages import Message

Kind = Literal["thought", "words", "call"]
THINK_TAGS = re.compile(r"(</?think>)")


@dataclass(frozen=True, slots=True)
class Passage:
    """Some words of a turn, marked by their place in a list of all passages."""

    turn: int
    kind: Kind
    words: str


def trained_turns(messages: Sequence[Message], loss: LossOn, first: int = 0) -> list[int]:
    """Return the places of the turns that are learnt, of those from `first` on.

    A turn without words has nothing to learn, and what the data says of a turn itself (`weight`, `train`) holds.
    """
    assistant = [place for place, message in enumerate(messages) if message["role"] == "assistant" and place >= first]
    if loss == "last_assistant":
        assistant = assistant[-1:]
    if loss == "marked":
        if any(message.get("learn") and message["role"] != "assistant" for message in messages):
            raise ValueError("a turn that is not the assistant's is marked as learnt; only assistant turns can be")
        assistant = [place for place in assistant if messages[place].get("learn")]
    return [place for place in assistant if messages[place].get("learn") is not False and _says(messages[place])]


def is_plain(message: Message) -> bool:
    """Return whether a turn is nothing but words."""
    return "reasoning_content" not in message and "tool_calls" not in message


def mark_plain(messages: Sequence[Message], turns: Sequence[int]) -> list[Message]:
    """Return the chat with a mark in place of all words of each turn."""
    marked = list(messages)
    for number, turn in enumerate(turns):
        marked[turn] = {**messages[turn], "content": MARK.format(number)}
    return marked


def mark_passages(messages: Sequence[Message], turns: Sequence[int]) -> tuple[list[Message], list[Passage]]:
    """Return the chat with a mark in place of each passage of each turn, and the passages.

    The tags around thoughts stay where they are, so that the template sees them and does with them what it does.
    """
    marked, passages = list(messages), list[Passage]()
    for turn in turns:
        marked[turn] = _mark_turn(messages[turn], turn, passages)
    return marked, passages


def _mark_turn(message: Message, turn: int, passages: list[Passage]) -> Message:
    def mark(kind: Kind, words: str) -> str:
        if not words.strip():
            return words
        passages.append(Passage(turn, kind, words))
        return MARK.format(len(passages) - 1)

    made: dict[str, Any] = dict(message)
    if "reasoning_content" in message:
        made["reasoning_content"] = mark("thought", message["reasoning_content"])
    *thoughts, words = THINK_TAGS.split(message["content"])
    parts = [part if THINK_TAGS.fullmatch(part) else mark("thought", part) for part in thoughts]
    made["content"] = "".join([*parts, mark("words", words)])
    if "tool_calls" in message:
        made["tool_calls"] = [{**call, "function": {**call["function"], "name": mark("call", call["function"]["name"])}}
                              for call in message["tool_calls"]]
    return made


def _says(message: Message) -> bool:
    return bool(message["content"].strip()) or not is_plain(message)
