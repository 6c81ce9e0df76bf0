"""Every trained assistant token and its end token and nothing else: over styles of templates and kinds of tokenizers.

The judge is `tests.data.rendering.styles`, which writes each style turn by turn without launcher.
"""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from launcher.data.encoding import Encoder
from launcher.data.rendering.chat import ChatTemplate
from launcher.data.rendering.chat_templates import template_text
from tests.data.rendering.styles import STYLES, Part, Turn, chatml_with_a_last_word, qwen3
from tests.data.tokenizers import KINDS, tokenizer_of

# A template that ends the whole chat with one more token: not the token that ends a turn.
LAST_WORD = ("{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
             "{% if loop.last %}{{ eos_token }}{% endif %}{% endfor %}"
             "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")
TEMPLATES = {name: template_text(name) for name in STYLES} | {"last word": LAST_WORD}
JUDGES = STYLES | {"last word": chatml_with_a_last_word}
examples = settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
many_examples = settings(examples, max_examples=150)

# What has broken masks: short answers that occur elsewhere, white space, scaffolding in the words, characters of
# several code points or directions, and private-use ones such as the marks are made of.
FRAGMENTS = [
    "", "3", "It is 3", "Ada", " ", "\n", "\n\n", "  two", "\t", "a\u0301",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "\U0001f600", "\u0645\u0631\u062d\u0628\u0627", "\u202e", "\ufb01", "\u65e5\u672c", "\ue0a5", "\ue0a6turn0",
    "\u2581", "\u2028", "<|im_start|>assistant\n", "<|im_end|>", "[/INST]", "[INST] hi", "</s>", "<s>", "Assistant:\n",
    "<|assistant|>\n", "<start_of_turn>model\n", "<|start_header_id|>assistant<|end_header_id|>\n\n", "<tool_call>",
    "{{ x }}", "\x00"]
WORDS = st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=3), max_size=4).map("".join)
MORE_WORDS = WORDS.filter(lambda words: bool(words.strip()))


def _is_unicode(words: str) -> bool:
    return not any(0xD800 <= ord(letter) < 0xE000 for letter in words)


@st.composite
def chats(draw, style):
    """Draw a chat that the style's template accepts."""
    first = [Turn("system", draw(MORE_WORDS))] if draw(st.booleans()) else []
    if style == "mistral":
        roles = ["user", "assistant"] * draw(st.integers(1, 3))
    else:  # also consecutive turns of one role, and chats that the assistant begins
        roles = draw(st.lists(st.sampled_from(["user", "assistant"]), min_size=1, max_size=5))
    same = draw(WORDS)
    said = [Turn(role, draw(st.just(same) | WORDS), trained=role == "user" or draw(st.integers(0, 4)) > 0)
            for role in roles]
    return first + said


def judged(kind: str, template: str, parts: list[Part]) -> tuple[list[int], list[bool]]:
    """Return tokens and labels as they should be: a token is learnt if learnt words are in it."""
    text = "".join(words for words, _ in parts)
    learnt = [flag for words, flag in parts for _ in words]
    backend = Tokenizer.from_str(tokenizer_of(kind, template).backend_tokenizer.to_str())
    backend.post_processor = None  # it would cut the white space off
    encoding = backend.encode(text, add_special_tokens=False)
    labels = [any(learnt[start:end]) and (learnt[start] or not text[_first(learnt, start):end].isspace())
              for start, end in encoding.offsets]
    return encoding.ids, [False, *labels[1:]]


def _first(learnt: list[bool], start: int) -> int:
    return learnt.index(True, start)


def made(kind: str, template: str, turns: list[Turn], tools=None, loss: str = "assistant"):
    tokenizer = tokenizer_of(kind, template)
    rendered = ChatTemplate(tokenizer).render([turn.message() for turn in turns], loss, tools)
    (encoded,) = Encoder(tokenizer).encode([rendered])
    return rendered, encoded


def check(kind: str, template: str, turns: list[Turn], parts: list[Part], tools=None) -> None:
    rendered, encoded = made(kind, template, turns, tools)
    assert rendered.text == "".join(words for words, _ in parts)
    tokens, labels = judged(kind, template, parts)
    assert encoded.tokens.tolist() == tokens
    assert encoded.supervised.tolist() == labels


def holds_for(strategy, check_one, some=examples) -> None:
    some(given(strategy)(check_one))()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("style", JUDGES)
def test_what_is_learnt_of_any_chat(style, kind):
    holds_for(chats(style), lambda turns: check(kind, TEMPLATES[style], turns, JUDGES[style](turns)))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("style", JUDGES)
def test_what_is_learnt_of_many_chats(style, kind):
    holds_for(chats(style), lambda turns: check(kind, TEMPLATES[style], turns, JUDGES[style](turns)), many_examples)


THOUGHT = MORE_WORDS.map(lambda words: words.strip("\n")).filter(lambda words: "</think>" not in words)
NAMES = st.sampled_from(["weather", "Ada", "a.b-c", "f"])


@st.composite
def agent_chats(draw):
    """Draw a chat with thoughts, tool calls and their answers."""
    turns = [Turn("system", draw(MORE_WORDS))] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(1, 2))):
        turns.append(Turn("user", draw(WORDS)))
        for _ in range(draw(st.integers(0, 2))):
            calls = tuple(draw(st.lists(st.tuples(NAMES, WORDS), min_size=1, max_size=2)))
            turns.append(Turn("assistant", draw(st.just("") | WORDS), draw(st.just("") | THOUGHT), calls,
                              draw(st.integers(0, 3)) > 0))
            turns += [Turn("tool", draw(MORE_WORDS)) for _ in calls]
        turns.append(Turn("assistant", draw(WORDS), draw(st.just("") | THOUGHT), (), draw(st.integers(0, 3)) > 0))
    if draw(st.booleans()):
        turns[-1:] = [Turn("assistant", draw(st.just("") | WORDS), draw(st.just("") | THOUGHT), (("f", draw(WORDS)),))]
    return turns


def check_agent(kind: str, turns: list[Turn]) -> None:
    check(kind, TEMPLATES["qwen3"], turns, qwen3(turns))


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_learnt_of_any_chat_with_thoughts_and_calls(kind):
    holds_for(agent_chats(), lambda turns: check_agent(kind, turns))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_learnt_of_many_chats_with_thoughts_and_calls(kind):
    holds_for(agent_chats(), lambda turns: check_agent(kind, turns), many_examples)
