"""How each style of chat template writes a chat, told turn by turn in plain Python: what the masks are judged by.

Nothing here goes through launcher or Jinja. A style gives the text of a chat in parts, each learnt or not.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass

Part = tuple[str, bool]
"""Text, and whether it is learnt."""
BOS, EOS = "<s>", "</s>"


@dataclass(frozen=True)
class Turn:
    """A turn of a chat."""

    role: str
    words: str
    thought: str = ""
    calls: tuple[tuple[str, str], ...] = ()
    """Names, and the one argument `at` of each."""
    trained: bool = True

    def message(self) -> dict[str, object]:
        made: dict[str, object] = {"role": self.role, "content": self.words}
        if self.thought:
            made["reasoning_content"] = self.thought
        if self.calls:
            made["tool_calls"] = [{"type": "function", "function": {"name": name, "arguments": {"at": argument}}}
                                  for name, argument in self.calls]
        return made if self.trained else {**made, "learn": False}

    @property
    def learnt(self) -> bool:
        return self.role == "assistant" and self.trained and bool(self.words.strip() or self.thought or self.calls)


def chatml(turns: list[Turn]) -> list[Part]:
    parts: list[Part] = []
    for turn in turns:
        parts += [(f"<|im_start|>{turn.role}\n", False), (f"{turn.words}<|im_end|>", turn.learnt), ("\n", False)]
    return parts


def chatml_with_a_last_word(turns: list[Turn]) -> list[Part]:
    return [*chatml(turns), (EOS, False)]


def llama3(turns: list[Turn]) -> list[Part]:
    parts: list[Part] = [(BOS, False)]
    for turn in turns:
        parts += [(f"<|start_header_id|>{turn.role}<|end_header_id|>\n\n", False),
                  (f"{turn.words.strip()}<|eot_id|>", turn.learnt)]
    return parts


def gemma(turns: list[Turn]) -> list[Part]:
    parts: list[Part] = [(BOS, False)]
    told = turns[0].words.strip() + "\n\n" if turns[0].role == "system" else ""
    for turn in turns[turns[0].role == "system":]:
        role = "model" if turn.role == "assistant" else "user"
        parts += [(f"<start_of_turn>{role}\n{told}", False), (f"{turn.words.strip()}<end_of_turn>", turn.learnt),
                  ("\n", False)]
        told = ""
    return parts


def mistral(turns: list[Turn]) -> list[Part]:
    parts: list[Part] = [(BOS, False)]
    told = turns[0].words + "\n\n" if turns[0].role == "system" else ""
    for turn in turns[turns[0].role == "system":]:
        if turn.role == "user":
            parts.append((f"[INST] {told}{turn.words} [/INST]", False))
            told = ""
        else:
            # The prompt ends before the blank, so the model writes it.
            parts.append((f" {turn.words}{EOS}", turn.learnt))
    return parts


def zephyr(turns: list[Turn]) -> list[Part]:
    parts: list[Part] = []
    for turn in turns:
        parts += [(f"<|{turn.role}|>\n", False), (f"{turn.words}{EOS}", turn.learnt), ("\n", False)]
    return parts


def plain(turns: list[Turn]) -> list[Part]:
    parts: list[Part] = [(BOS, False)]
    for turn in turns:
        parts.append((f"{turn.role.title()}:\n", False))
        if turn.role == "assistant":
            parts += [(turn.words.strip() + EOS, turn.learnt), ("\n", False)]
        else:
            parts.append((turn.words.strip() + "\n\n", False))
    return parts


def qwen3(turns: list[Turn], tools: str = "") -> list[Part]:
    parts: list[Part] = []
    question = max((place for place, turn in enumerate(turns) if turn.role == "user"), default=-1)
    for place, turn in enumerate(turns):
        last = place == len(turns) - 1
        if turn.role == "tool":
            first = turns[place - 1].role != "tool"
            closes = last or turns[place + 1].role != "tool"
            parts.append((("<|im_start|>user" if first else "") + f"\n<tool_response>\n{turn.words}\n</tool_response>"
                          + ("<|im_end|>\n" if closes else ""), False))
            continue
        parts.append((f"<|im_start|>{turn.role}\n", False))
        if turn.role == "assistant" and place > question and turn.thought:
            parts.append((f"<think>\n{turn.thought}\n</think>\n\n", turn.learnt))
        elif turn.role == "assistant" and place > question and last:
            parts.append(("<think>\n\n</think>\n\n", False))
        called = [(name, json.dumps({"at": at}, ensure_ascii=False)) for name, at in turn.calls]
        calls = "\n".join(f'<tool_call>\n{{"name": "{name}", "arguments": {arguments}}}\n</tool_call>'
                          for name, arguments in called)
        between = "\n" if calls and turn.words else ""
        shown = turn.words + between + calls
        # A thought that the template forgets leaves nothing to learn of a turn that was nothing else.
        left = bool(turn.words.strip() or calls) or (place > question and bool(turn.thought))
        parts += [(f"{shown}<|im_end|>", turn.learnt and left), ("\n", False)]
    return parts


STYLES: dict[str, Callable[[list[Turn]], list[Part]]] = {
    "chatml": chatml, "llama3": llama3, "gemma": gemma, "mistral": mistral, "zephyr": zephyr, "plain": plain,
    "qwen3": qwen3}
"""By the name of the shipped template that they judge."""
