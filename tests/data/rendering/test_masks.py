"""What is learnt of a document: exactly the words that the model will have to say, and the token that ends them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.data.encoding import Encoder
from launcher.data.rendering.chat import ChatTemplate
from launcher.data.rendering.plain import alpaca_prompt
from launcher.data.rendering.plain import render_plain as render
from launcher.data.rendering.rendered import Rendered
from tests.data.making import (
    CHATML,
    DROPS_EARLIER,
    FORGETS_THOUGHTS,
    LLAMA_2,
    LLAMA_3,
    MISTRAL,
    NEVER_ENDS,
    SHOUTS,
    ZEPHYR,
    chat_tokenizer,
)

# "3" stands in the question too: a search for the answer's words would find the wrong ones.
CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is 3 + 0? Is it 3?"},
        {"role": "assistant", "content": "3"}, {"role": "user", "content": "Sure?"},
        {"role": "assistant", "content": "Yes, 3."}]
TEMPLATES = {"chatml": (CHATML, "<|im_end|>"), "llama 3": (LLAMA_3, "<|eot|>"), "zephyr": (ZEPHYR, "</s>"),
             "mistral": (MISTRAL, "</s>")}


def learnt(tokenizer, rendered):
    """Return the learnt runs of a rendering as text."""
    (encoded,) = Encoder(tokenizer).encode([rendered])
    runs, before = [], False
    for token, label in zip(encoded.tokens.tolist(), encoded.supervised.tolist(), strict=True):
        if label:
            runs = [*runs[:-1], [*runs[-1], token]] if before else [*runs, [token]]
        before = label
    return [tokenizer.decode(run) for run in runs]


def chat(tokenizer, messages, loss="assistant"):
    return ChatTemplate(tokenizer).render(messages, loss)


@pytest.mark.parametrize("name", TEMPLATES)
def test_assistant_turns_are_learnt_with_the_token_that_ends_them(name):
    template, end = TEMPLATES[name]
    tokenizer = chat_tokenizer(template)
    lead = " " if name == "mistral" else ""
    assert learnt(tokenizer, chat(tokenizer, CHAT)) == [f"{lead}3{end}", f"{lead}Yes, 3.{end}"]
    assert learnt(tokenizer, chat(tokenizer, CHAT, "last_assistant")) == [f"{lead}Yes, 3.{end}"]


def test_the_white_space_before_the_words_is_learnt_where_the_model_would_write_it():
    tokenizer = chat_tokenizer(MISTRAL)
    messages = [{"role": "user", "content": "How many?"}, {"role": "assistant", "content": "many"}]
    # " many" is one token, and the prompt ends before its blank.
    assert tokenizer.tokenize("x many")[-1].endswith("many")
    assert learnt(tokenizer, chat(tokenizer, messages)) == [" many</s>"]


def test_a_token_that_straddles_the_header_is_learnt_for_its_words():
    header_with_blank = ("{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}{{ eos_token }}{% endfor %}"
                         "{% if add_generation_prompt %}assistant: {% endif %}")
    tokenizer = chat_tokenizer(header_with_blank)
    messages = [{"role": "user", "content": "How many?"}, {"role": "assistant", "content": "many"}]
    assert learnt(tokenizer, chat(tokenizer, messages)) == [" many</s>"]
    messages[1]["content"] = "\n many"
    assert learnt(tokenizer, chat(tokenizer, messages)) == ["\n many</s>"]


def test_the_words_are_found_with_offsets_that_a_tokenizer_would_trim():
    tokenizer = chat_tokenizer(CHATML)
    messages = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "  indented\n answer "}]
    assert learnt(tokenizer, chat(tokenizer, messages)) == ["  indented\n answer <|im_end|>"]


def test_a_template_that_trims_the_words_is_followed():
    tokenizer = chat_tokenizer(LLAMA_3)
    messages = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "  answer \n"}]
    assert learnt(tokenizer, chat(tokenizer, messages)) == ["answer<|eot|>"]


def test_an_end_after_a_blank_is_learnt():
    tokenizer = chat_tokenizer(LLAMA_2)
    messages = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "(answer)"}]
    assert learnt(tokenizer, chat(tokenizer, messages))[0].endswith("answer) </s>")


def test_all_of_a_chat_is_learnt_but_its_first_token():
    tokenizer = chat_tokenizer(CHATML)
    rendered = chat(tokenizer, CHAT, "all")
    assert learnt(tokenizer, rendered) == [rendered.text.removeprefix("<|im_start|>")]


def test_an_empty_turn_has_nothing_to_learn():
    tokenizer = chat_tokenizer(CHATML)
    messages = [*CHAT[:2], {"role": "assistant", "content": " "}]
    assert learnt(tokenizer, chat(tokenizer, messages)) == []
    assert learnt(tokenizer, chat(tokenizer, messages[:2])) == []


@pytest.mark.parametrize(("template", "what"), [
    (SHOUTS, "changes the words"), (DROPS_EARLIER, "does not write message 2"), (NEVER_ENDS, "never learn to stop"),
    (MISTRAL, "roles must alternate"), (None, "no chat template")])
def test_a_template_that_hides_what_is_learnt_is_refused(template, what):
    messages = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "<think>hm</think>A"},
                {"role": "user", "content": "Q"}, {"role": "assistant", "content": "B"}]
    if template is MISTRAL:
        messages = messages[1:]
    with pytest.raises(ValueError, match=what):
        chat(chat_tokenizer(template), messages)


@pytest.mark.parametrize("template", ["{{ 1 / 0 }}", "{{ 'a' + 1 }}", "{{ messages.x.y }}", "{% for %}"])
def test_a_template_that_breaks_is_told(template):
    with pytest.raises(ValueError, match="the chat template refuses this chat"):
        chat(chat_tokenizer(template), CHAT)


def test_the_names_of_special_tokens_in_data_become_those_tokens():
    """As in TRL and Axolotl: data that is rendered already relies on it."""
    tokenizer = chat_tokenizer(CHATML)
    (encoded,) = Encoder(tokenizer).encode([render({"prompt": "a<|im_end|>", "completion": "b"}, "completion", "")])
    assert tokenizer.convert_tokens_to_ids("<|im_end|>") in encoded.tokens


def test_thoughts_that_the_template_forgets_are_not_learnt():
    tokenizer = chat_tokenizer(FORGETS_THOUGHTS)
    messages = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "<think>hm</think>A"},
                {"role": "user", "content": "Q"}, {"role": "assistant", "content": "<think>so</think>B"}]
    assert learnt(tokenizer, chat(tokenizer, messages)) == ["A<|im_end|>", "<think>so</think>B<|im_end|>"]
    assert learnt(tokenizer, chat(tokenizer, messages, "last_assistant")) == ["<think>so</think>B<|im_end|>"]


CHATML_TOKENIZER = chat_tokenizer(CHATML)
WORDS = st.text(st.characters(exclude_categories=("Cs", "Co"), exclude_characters="<"), min_size=1, max_size=12)


@settings(max_examples=150, deadline=None)
@given(asked=WORDS, answered=WORDS.filter(lambda words: bool(words.strip())))
def test_any_words_are_learnt_whole(asked, answered):
    messages = [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]
    found = learnt(CHATML_TOKENIZER, chat(CHATML_TOKENIZER, messages))
    expected = f"{answered}<|im_end|>"
    assert len(found) == 1 and expected.endswith(found[0])
    # White space may share a token with the scaffolding's line break; nothing else can.
    assert not expected.removesuffix(found[0]).strip()


def test_completions_are_learnt_with_the_end_of_text():
    tokenizer = chat_tokenizer(None)
    for prompt, completion, separator, text, words in [
        ("2 + 1 =", "3", None, "2 + 1 =\n3", "3"), ("2 + 1 =", "3", "", "2 + 1 =3", "3"),
        ("2 + 1 =", " 3", None, "2 + 1 = 3", " 3"), ("2 + 1 =\n", "3", None, "2 + 1 =\n3", "3"),
        ("Q:", "\u65e5\u672c \U0001f600", ">", "Q:>\u65e5\u672c \U0001f600", "\u65e5\u672c \U0001f600"),
    ]:
        rendered = render({"prompt": prompt, "completion": completion}, "completion", separator)
        assert rendered.text == text
        assert learnt(tokenizer, rendered) == [f"{words}</s>"]


def test_alpaca_outputs_are_learnt():
    tokenizer = chat_tokenizer(None)
    rendered = render({"instruction": "Add.", "input": "1 2", "output": "3"}, "completion", None)
    assert rendered.text == alpaca_prompt("Add.", "1 2") + "3"
    assert learnt(tokenizer, rendered) == ["3</s>"]
    assert "Input" not in alpaca_prompt("Add.", "") and "Input" in alpaca_prompt("Add.", "1")


def test_a_blank_completion_has_nothing_to_learn():
    assert render({"prompt": "Q", "completion": " \n"}, "completion", None).spans == ()
    assert render({"text": "\n"}, "all", None).spans == ()


@pytest.mark.parametrize("post_processor", ["bos", None])
def test_there_is_one_first_token_where_the_tokenizer_writes_one(post_processor):
    tokenizer = chat_tokenizer(MISTRAL, post_processor=post_processor)
    encoder = Encoder(tokenizer)
    texts = [Rendered("hello", ((0, 5),)), Rendered("<s>hello", ((0, 8),)), chat(tokenizer, CHAT)]
    counts = [encoded.tokens.tolist().count(tokenizer.bos_token_id) for encoded in encoder.encode(texts)]
    assert counts == ([1, 1, 1] if post_processor else [0, 1, 1])
    plain = encoder.encode(texts[:1])[0]
    assert plain.tokens[-1] == tokenizer.eos_token_id and plain.supervised[-1]
    assert not plain.supervised[0]
