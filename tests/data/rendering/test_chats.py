"""Turns that are more than words, turns that are marked, and templates that are not what they seem."""

import re
from typing import Any

import pytest

from launcher.data.encoding import Encoder
from launcher.data.rendering.chat import ChatTemplate
from launcher.data.rendering.chat_templates import template_text
from launcher.data.rendering.renderer import Renderer
from tests.data.making import CHATML, DROPS_EARLIER, MISTRAL, ZEPHYR
from tests.data.tokenizers import tokenizer_of

KIND = "byte-level BPE"
# As Llama 3.1 has it: a call ends with a token of its own, and thoughts are not written.
CALLS_END_OTHERWISE = (
    "{{ bos_token }}{% if tools %}{{ tools | tojson }}{% endif %}{% for m in messages %}<|start_header_id|>{{ m.role }}"
    "<|end_header_id|>\n\n{% if m.tool_calls %}{% for c in m.tool_calls %}{\"name\": \"{{ c.function.name }}\", "
    "\"parameters\": {{ c.function.arguments | tojson }}}{% endfor %}<|eom_id|>{% else %}{{ m.content | trim }}"
    "<|eot_id|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}")
# As Mistral has it: no header at all before a turn of the assistant.
CALLS_WITHOUT_HEADER = (
    "{{ bos_token }}{% if tools %}{{ tools | tojson }}{% endif %}{% for m in messages %}{% if m.role == 'user' %}"
    "[INST] {{ m.content }} [/INST]{% elif m.role == 'tool' %}result {{ m.content }};{% elif m.tool_calls %}"
    "[TOOL_CALLS]{% for c in m.tool_calls %}{{ c.function.name }}{{ c.function.arguments | tojson }}{% endfor %}"
    "{{ eos_token }}{% else %} {{ m.content }}{{ eos_token }}{% endif %}{% endfor %}")
# As Cohere and gpt-oss have it: two tokens end a turn, and the model opens a channel before its words.
CHANNELS = ("{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>{% if m.role == 'assistant' %}"
            "final:{% endif %}{{ m.content }}<|eom_id|><|eot_id|>{% endfor %}"
            "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>{% endif %}")
DATED = "\n{{ strftime_now('%d %b %Y') }}\n" + CHATML
FORGETS_TOOLS = CHATML.replace("{% for m in messages %}",
                               "{% for m in messages if m.role not in ['tool', 'system'] %}")

CALL = [{"type": "function", "function": {"name": "weather", "arguments": {"at": "<|eom_id|></s>"}}}]
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {}}}]


def user(words: str) -> dict[str, Any]:
    return {"role": "user", "content": words}


def answer(words: str, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": words, **more}


def learnt(template: str, messages: list[dict[str, Any]], loss: str = "assistant", tools: Any = None, first: int = 0):
    rendered = ChatTemplate(tokenizer_of(KIND, template)).render(messages, loss, tools, first)
    return [rendered.text[start:end] for start, end in rendered.spans]


AGENT = [user("What is the weather, weather?"), answer("", tool_calls=CALL),
         {"role": "tool", "content": "weather: sun"}, answer("Sun.")]


def test_a_call_is_learnt_with_the_token_that_ends_it():
    call = '{"name": "weather", "parameters": {"at": "<|eom_id|></s>"}}<|eom_id|>'
    assert learnt(CALLS_END_OTHERWISE, AGENT, tools=TOOLS) == [call, "Sun.<|eot_id|>"]
    assert learnt(CALLS_END_OTHERWISE, AGENT[:2], tools=TOOLS) == [call]


def test_a_call_is_learnt_where_turns_have_no_header():
    call = '[TOOL_CALLS]weather{"at": "<|eom_id|></s>"}</s>'
    assert learnt(CALLS_WITHOUT_HEADER, AGENT, tools=TOOLS) == [call, " Sun.</s>"]


def test_a_call_is_learnt_where_it_stands_though_the_answer_names_it_again():
    names_again = CALLS_WITHOUT_HEADER.replace(
        "result {{ m.content }}", "{{ messages[loop.index0 - 1].tool_calls[0].function.name }} gave {{ m.content }}")
    rendered = ChatTemplate(tokenizer_of(KIND, names_again)).render(AGENT, "assistant", TOOLS)
    call = '[TOOL_CALLS]weather{"at": "<|eom_id|></s>"}</s>'
    assert f"{call}weather gave weather: sun" in rendered.text
    assert [rendered.text[start:end] for start, end in rendered.spans] == [call, " Sun.</s>"]


def test_white_space_that_is_one_token_with_the_headers_belongs_to_the_header():
    tokenizer = tokenizer_of("BPE that merges across borders", CHATML)
    rendered = ChatTemplate(tokenizer).render([user("Q"), answer("\nAda")], "assistant")
    assert [rendered.text[start:end] for start, end in rendered.spans] == ["\nAda<|im_end|>"]
    (encoded,) = Encoder(tokenizer).encode([rendered])
    assert "\n\n" in [tokenizer.decode([token]) for token in encoded.tokens]
    assert tokenizer.decode(encoded.tokens[encoded.supervised]) == "Ada<|im_end|>"


def test_all_that_the_model_writes_of_a_turn_is_learnt():
    assert learnt(CHANNELS, [user("Q"), answer("A"), user("final:"), answer("final:")]) == [
        "final:A<|eom_id|><|eot_id|>", "final:final:<|eom_id|><|eot_id|>"]


def test_an_empty_think_block_is_scaffolding_and_a_thought_is_not():
    qwen = template_text("qwen3")
    assert learnt(qwen, [user("Q"), answer("A")]) == ["A<|im_end|>"]
    assert learnt(qwen, [user("Q"), answer("<think>\n\n</think>\n\nA")]) == ["A<|im_end|>"]
    assert learnt(qwen, [user("Q"), answer("", tool_calls=CALL)], tools=TOOLS)[0].startswith("<tool_call>")
    thought = ["<think>\nhm\n</think>\n\nA<|im_end|>"]
    assert learnt(qwen, [user("Q"), answer("A", reasoning_content="hm")]) == thought
    assert learnt(qwen, [user("Q"), answer("<think>hm</think>A")]) == thought
    # In a template that knows no thoughts they are words.
    assert learnt(CHATML, [user("Q"), answer("<think></think>A")]) == ["<think></think>A<|im_end|>"]


def test_a_thought_that_the_template_forgets_is_not_learnt():
    chat = [user("Q"), answer("A", reasoning_content="hm"), user("Q"), answer("B", reasoning_content="so")]
    assert learnt(template_text("qwen3"), chat) == ["A<|im_end|>", "<think>\nso\n</think>\n\nB<|im_end|>"]


LEFT_OUT = {
    "reasoning_content; take one that does": (CHATML, [user("Q"), answer("A", reasoning_content="hm")], None),
    "the tool 'weather'": (CHATML, [user("Q"), answer("A")], TOOLS),
    "the call of 'weather' in message 2": (CHATML, [user("Q"), answer("", tool_calls=CALL), answer("A")], None),
    "message 1, a user turn": (DROPS_EARLIER, [user("Q1"), answer("A"), user("Q2"), answer("B")], None),
    "message 2, a tool turn": (FORGETS_TOOLS, [user("Q"), {"role": "tool", "content": "sun"}, answer("A")], None),
    "message 1, a system turn": (FORGETS_TOOLS, [{"role": "system", "content": "S"}, user("Q"), answer("A")], None),
}


@pytest.mark.parametrize("what", LEFT_OUT)
def test_what_a_template_leaves_out_is_told(what):
    template, messages, tools = LEFT_OUT[what]
    with pytest.raises(ValueError, match=f"the chat template does not write {re.escape(what)}"):
        learnt(template, messages, tools=tools)


def test_tools_of_any_shape_are_left_to_the_template():
    for tool in ({"function": None}, {"function": "f"}, {"anything": 1}):
        assert learnt("{{ tools | tojson }}" + CHATML, [user("Q"), answer("A")], tools=[tool]) == ["A<|im_end|>"]


def test_turns_are_learnt_as_the_data_marks_them():
    chat = [user("Q"), answer("A", learn=False), user("Q"), answer("B", learn=True), user("Q"), answer("C")]
    assert learnt(CHATML, chat) == ["B<|im_end|>", "C<|im_end|>"]
    assert learnt(CHATML, chat, "marked") == ["B<|im_end|>"]
    assert learnt(CHATML, chat, "last_assistant") == ["C<|im_end|>"]
    assert learnt(CHATML, chat[:2], "last_assistant") == [] == learnt(CHATML, chat[:1])
    with pytest.raises(ValueError, match="not the assistant's is marked"):
        learnt(CHATML, [{**user("Q"), "learn": True}, answer("A")], "marked")


def test_of_prompts_and_completions_of_messages_the_completions_answers_are_learnt():
    renderer = Renderer(tokenizer_of(KIND, ZEPHYR), "prompt_completion", None, "completion", None)
    content = renderer.content({"prompt": [user("Q"), answer("A"), user("Q")],
                                "completion": [answer("B"), answer("C")]})
    rendered = renderer.render(content)
    assert [rendered.text[start:end] for start, end in rendered.spans] == ["B</s>", "C</s>"]
    with pytest.raises(ValueError, match="separator goes with"):
        Renderer(tokenizer_of(KIND, ZEPHYR), "prompt_completion", None, "completion", "\n").render(content)


def test_the_date_of_a_template_is_the_same_on_any_day():
    rendered = ChatTemplate(tokenizer_of(KIND, DATED)).render([user("Q"), answer("A")], "assistant")
    assert rendered.text.startswith("\n26 Jul 2024\n<|im_start|>user")
    assert [rendered.text[start:end] for start, end in rendered.spans] == ["A<|im_end|>"]


def test_a_template_that_refuses_is_told_in_one_line():
    with pytest.raises(ValueError, match=r"refuses this chat: no luck today$"):
        learnt("{{ raise_exception('no luck\n today') }}", [user("Q"), answer("A")])


def test_words_that_a_template_changes_or_writes_twice_are_refused():
    twice = CHATML.replace("{{ m['content'] }}", "{{ m['content'] }}{{ m['content'] }}")
    with pytest.raises(ValueError, match="writes message 2 twice"):
        learnt(twice, [user("Q"), answer("A")])
    # Nothing of it need be told where all is learnt.
    assert len(learnt(twice, [user("Q"), answer("A")], "all")) == 1


def test_a_template_without_an_end_of_turn_is_refused_wherever_the_learnt_turn_stands():
    chat = [user("Q"), answer("A"), user("Q")]
    for length in (2, 3):
        with pytest.raises(ValueError, match="writes no token that ends an assistant turn"):
            learnt(CHATML.replace("<|im_end|>", ""), chat[:length])


def test_a_chat_in_which_nobody_answers_has_nothing_to_learn():
    assert learnt(CHATML, [user("Q")]) == [] == learnt(MISTRAL, [user("Q"), answer(" \n")])
