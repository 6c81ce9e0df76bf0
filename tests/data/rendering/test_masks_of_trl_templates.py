"""Chat templates of real models, as TRL ships them: the marks of `generation` in its training versions judge ours.

The two differ in what is known: TRL's marks often take in the header, the empty think block that the template writes,
and the line break after the end token. Nothing else may differ, and what ours cannot tell it refuses.
"""

import importlib.util
import re
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from launcher.data.rendering.chat import ChatTemplate
from tests.data.tokenizers import tokenizer_of

TRL = importlib.util.find_spec("trl")
pytestmark = pytest.mark.skipif(TRL is None, reason="trl comes with the extra `bench`")
FOLDER = Path(TRL.origin).parent / "chat_templates" if TRL and TRL.origin else Path("not there")
TEMPLATES = {path.stem: path.read_text("utf-8") for path in sorted(FOLDER.glob("*.jinja"))}
MARKED = [name for name, text in TEMPLATES.items() if "endgeneration" in text]
TOKENS = re.compile(r"<\|[a-zA-Z_]+\|>|<\uff5c[^'\"\uff5c]+\uff5c>|\[/?[A-Z_]+\]|<(?:start|end)_of_turn>|"
                    r"<turn\|>|<\|turn>|<end_of_utterance>")
# What TRL's marks take in before the words, besides the header: also the end of what a tool has said.
NOT_OURS = r"\s*<think>\s*</think>\s*|<\uff5ctool\u2581outputs\u2581end\uff5c>"

CALL = [{"id": "abcdefghi", "type": "function", "function": {"name": "weather", "arguments": {"at": "sea"}}}]
TOOLS = [{"type": "function", "function": {"name": "weather", "description": "Tells it.", "parameters": {
    "type": "object", "properties": {"at": {"type": "string", "description": "Where."}}, "required": ["at"]}}}]


def user(words: str) -> dict[str, Any]:
    return {"role": "user", "content": words}


def answer(words: str, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": words, **more}


ANSWERED = {"role": "tool", "content": "sun", "name": "weather", "tool_call_id": "abcdefghi"}
CHATS: dict[str, tuple[list[dict[str, Any]], Any]] = {
    "two answers": ([user("Q1"), answer("A1"), user("Q2"), answer("A2")], None),
    "a system turn": ([{"role": "system", "content": "S"}, user("Q"), answer("same"), user("Q"), answer("same")], None),
    "thoughts": ([user("Q1"), answer("A1", reasoning_content="R1"), user("Q2"), answer("A2", reasoning_content="R2")],
                 None),
    "thoughts in the words": ([user("Q"), answer("<think>\nR\n</think>\n\nA")], None),
    "calls": ([user("Q1"), answer("", tool_calls=CALL), ANSWERED, answer("A1"), user("Q2"), answer("A2")], TOOLS),
    "calls after thoughts": ([user("Q"), answer("", reasoning_content="R1", tool_calls=CALL), ANSWERED,
                              answer("A", reasoning_content="R2")], TOOLS)}


def tokenizer_with(template: str):
    tokenizer = deepcopy(tokenizer_of("byte-level BPE", ""))
    tokenizer.add_tokens(sorted(set(TOKENS.findall(template))), special_tokens=True)
    tokenizer.chat_template = template
    return tokenizer


@cache
def template_of(template: str) -> ChatTemplate:
    return ChatTemplate(tokenizer_with(template))


def ours(template: str, chat: str) -> tuple[str, list[str]] | None:
    """Return the header and what is learnt of each turn, or None if the chat is refused."""
    messages, tools = CHATS[chat]
    made = template_of(template)
    try:
        rendered = made.render(messages, "assistant", tools)
    except ValueError:
        return None
    return made._template.header, [rendered.text[start:end] for start, end in rendered.spans]


def theirs(template: str, chat: str) -> list[str]:
    messages, tools = CHATS[chat]
    (text,), (marks,) = render_jinja_template([messages], tools, chat_template=template,
                                              return_assistant_tokens_mask=True, bos_token="<s>", eos_token="</s>")
    return [text[start:end] for start, end in marks if text[start:end].strip()]


def test_they_agree_wherever_ours_are_not_refused():
    compared, refused = 0, []
    for name in MARKED:
        if "gemma" in name:  # marks words and end token apart
            continue
        for chat in CHATS:
            found = ours(TEMPLATES[name], chat)
            if found is None:
                refused.append((name, chat))
                continue
            header, spans = found
            marked = theirs(TEMPLATES[name], chat)
            for mine, mark in zip(spans, marked, strict=False):
                compared += 1
                more = mark.rstrip("\n").removesuffix(mine)
                assert mark.rstrip("\n").endswith(mine), (name, chat, mine, mark)
                assert more in header or re.fullmatch(NOT_OURS, more), (name, chat, mine, mark)
            assert [mark for mark in marked[len(spans):] if mark.strip() != "</s>"] == [], (name, chat)
    print(f"{compared} turns of {len(MARKED)} templates agree; {len(refused)} chats are refused")
    assert compared > 150


@pytest.mark.slow
@pytest.mark.parametrize("name", TEMPLATES)
def test_two_answers_are_learnt_or_refused_with_the_reason(name):
    tokenizer = tokenizer_with(TEMPLATES[name])
    try:
        rendered = ChatTemplate(tokenizer).render(CHATS["two answers"][0], "assistant")
    except ValueError as error:
        assert "chat template" in str(error)
        return
    words = [rendered.text[start:end] for start, end in rendered.spans]
    assert len(words) == 2 and "A1" in words[0] and "A2" in words[1]
    assert not any("Q" in each for each in words)
