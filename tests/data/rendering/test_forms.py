"""Rows as data sets write them, made into one content; what cannot be meant is refused with what to do."""

import json

import pytest

from launcher.core.recipe_sources import Source
from launcher.data.rendering.fields import Fields
from launcher.data.rendering.forms import content_of, find_form, loss_of, texts_of

USER, ANSWER = {"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}
CALL = {"type": "function", "function": {"name": "f", "arguments": {"x": 1}}}


def messages(*given, **columns):
    return content_of({"messages": list(given), **columns}, "messages")["messages"]


SAME_CHATS = {
    "openai": {"messages": [USER, ANSWER]},
    "other keys are ignored": {"messages": [{**USER, "name": "Ada", "id": 7}, {**ANSWER, "refusal": None}], "id": 1},
    "sharegpt": {"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]},
    "sharegpt with openai's roles": {"conversations": [{"from": "user", "value": "Q"},
                                                       {"from": "assistant", "value": "A"}]},
    "openai's keys as conversations": {"conversations": [USER, ANSWER]},
    "json text": {"messages": json.dumps([USER, ANSWER])},
    "keys of both, filled up with null": {"messages": [
        {**USER, "from": None, "value": None}, {"role": None, "content": None, "from": "gpt", "value": "A"}]},
    "text in parts": {"messages": [{"role": "user", "content": [{"type": "text", "text": "Q"}]},
                                   {"role": "assistant", "content": [{"type": "text", "text": ""}, {"text": "A"}]}]},
    "empty columns beside": {"messages": [USER, {**ANSWER, "tool_calls": None, "weight": None, "thinking": ""}],
                             "system": None, "tools": []},
}


@pytest.mark.parametrize("case", SAME_CHATS)
def test_chats_are_read_however_they_are_written(case):
    assert find_form(SAME_CHATS[case]) == "messages"
    assert content_of(SAME_CHATS[case], "messages") == {"messages": [USER, ANSWER]}


@pytest.mark.parametrize(("role", "meant"), [("developer", "system"), ("tool", "tool"), ("function", "tool"),
                                             ("observation", "tool"), ("human", "user"), ("gpt", "assistant")])
def test_roles_have_one_name(role, meant):
    assert messages({"from": role, "value": "x"}) == [{"role": meant, "content": "x"}]


def test_a_system_column_goes_first_and_tools_may_be_json():
    tools = [{"type": "function", "function": {"name": "f"}}]
    content = content_of({"conversations": [USER], "system": "S", "tools": json.dumps(tools)}, "messages")
    assert content == {"messages": [{"role": "system", "content": "S"}, USER], "tools": tools}
    developer = {"role": "developer", "content": "S"}
    assert content == content_of({"messages": [developer, USER], "tools": tools}, "messages")


@pytest.mark.parametrize("call", [
    {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f", "arguments": '{"x": 1}'}}]},
    {"role": "assistant", "tool_calls": [CALL]},
    {"role": "assistant", "function_call": {"name": "f", "arguments": {"x": 1}}},
    {"from": "function_call", "value": '{"name": "f", "arguments": {"x": 1}}'}])
def test_calls_are_read_however_they_are_written(call):
    assert messages(USER, call)[1] == {"role": "assistant", "content": "", "tool_calls": [CALL]}


def test_thoughts_and_the_answers_of_tools_are_kept():
    assert messages({**ANSWER, "thinking": "T"}) == messages({**ANSWER, "reasoning_content": "T"}) == [
        {**ANSWER, "reasoning_content": "T"}]
    told = {"role": "tool", "content": "x", "name": "f", "tool_call_id": "1"}
    assert messages(told) == [told]


@pytest.mark.parametrize(("mark", "learn"), [({"weight": 0}, False), ({"weight": 1.0}, True), ({"train": False}, False),
                                             ({"train": True, "weight": 1}, True), ({}, None)])
def test_marks_of_turns_are_kept(mark, learn):
    assert messages({**ANSWER, **mark})[0].get("learn") == learn


def test_prompts_and_completions_may_be_messages():
    content = content_of({"prompt": [USER], "completion": [ANSWER], "system": "S"}, "prompt_completion")
    assert content == {"prompt": [{"role": "system", "content": "S"}, USER], "completion": [ANSWER]}


def test_all_text_is_there_for_a_tokenizer_to_be_trained_on():
    turns = [USER, {**ANSWER, "reasoning_content": "T", "tool_calls": [CALL]}]
    assert sorted(texts_of(content_of({"messages": turns, "tools": [{"name": "f"}]}, "messages"))) == [
        "1", "A", "Q", "T", "f"]
    assert texts_of({"prompt": "P", "completion": "C"}) == ["P", "C"]


WRONG = {
    "messages is text that is not JSON": {"messages": "[hi"},
    "messages must be a list of at least one": {"messages": "hi"},
    "message 1 is str": {"messages": ["hi"]},
    r"message 1 is not .* its keys are 'text'": {"messages": [{"text": "hi"}]},
    "message 1 has no content; add it": {"messages": [{"role": "user"}]},
    "message 1 has no value; add it": {"messages": [{"from": "human", "text": "Q"}]},
    "message 1 has the role 'bot'; roles are system, user, assistant, tool": {
        "messages": [{"from": "bot", "value": "Q"}]},
    "message 1: content must be text, not dict": {"messages": [{"role": "user", "content": {"text": "Q"}}]},
    "message 1: content must be text, not int; write it as a string": {"messages": [{"role": "user", "content": 7}]},
    "message 2: content must be text, not null": {"messages": [USER, {"role": "assistant", "content": None}]},
    "message 1: content has a part that is 'image_url'; only text": {
        "messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
    "message 1: content has a part that is 'str'": {"messages": [{"role": "user", "content": ["Q"]}]},
    "message 1 has weight 0.5: a turn is learnt or not, so write 1 or 0": {"messages": [{**ANSWER, "weight": 0.5}]},
    "message 1 has weight '1'": {"messages": [{**ANSWER, "weight": "1"}]},
    "message 1 has train 1; write true or false": {"messages": [{**ANSWER, "train": 1}]},
    "weight 1 and train false, which disagree": {"messages": [{**ANSWER, "weight": 1, "train": False}]},
    "two different reasonings": {"messages": [{**ANSWER, "thinking": "a", "reasoning_content": "b"}]},
    "thinking must be text, not list": {"messages": [{**ANSWER, "thinking": ["a"]}]},
    "call 1 is not .*name": {"messages": [{**ANSWER, "tool_calls": [{"function": {}}]}]},
    "call 1: arguments is text that is not JSON": {
        "messages": [{**ANSWER, "tool_calls": [{"function": {"name": "f", "arguments": "{x"}}]}]},
    "call 1: arguments must be an object, not list": {
        "messages": [{**ANSWER, "tool_calls": [{"function": {"name": "f", "arguments": [1]}}]}]},
    "tool_calls must be a list, not int": {"messages": [{**ANSWER, "tool_calls": 3}]},
    "tools must be a list of objects": {"messages": [USER], "tools": "[1]"},
    "tools is text that is not JSON": {"messages": [USER], "tools": "f(x)"},
    "tools holds what JSON cannot": {"messages": [USER], "tools": [{"name": "f", "at": float("nan")}]},
    "tools holds half of a surrogate pair": {"messages": [USER], "tools": [{"name": "\ud83d"}]},
    "a system column and a system turn": {"messages": [{"role": "system", "content": "S"}, USER], "system": "S"},
    "system must be text, not dict": {"messages": [USER], "system": {"a": 1}},
    "completion must be a list of at least one": {"prompt": [USER], "completion": []},
    "prompt must be text, not list": {"prompt": [USER], "completion": "A"},
    r"output must be text, not float; .* fields: {output: '{output}'} in the recipe": {
        "instruction": "I", "output": 1.5},
    "text must be text, not true or false": {"text": True},
}


@pytest.mark.parametrize("problem", WRONG)
def test_what_cannot_be_meant_is_refused_with_what_to_do(problem):
    columns = WRONG[problem]
    with pytest.raises(ValueError, match=problem) as caught:
        content_of(columns, find_form(columns))
    assert "\n" not in str(caught.value)


def test_fields_are_columns_or_texts_with_columns():
    fields = Fields({"prompt": "Question: {question} ({year})\n{{x}}", "completion": "answer"})
    columns = fields.columns({"question": "Why?", "answer": "So.", "year": 1999})
    assert find_form({"question": "", "answer": "", "year": 1}, fields) == "prompt_completion"
    assert content_of(columns, "prompt_completion") == {
        "prompt": "Question: Why? (1999)\n{x}", "completion": "So."}
    # A number becomes text where braces say so, and braces in the words are no columns.
    assert Fields({"text": "{n}"}).columns({"n": 1.5})["text"] == "1.5"
    assert Fields({"text": "{a}{b}"}).columns({"a": "{b}", "b": "{a}"})["text"] == "{b}{a}"
    assert Fields({"messages": "chat"}).columns({"chat": [USER]})["messages"] == [USER]
    assert Fields({"text": "my column {1}"}).columns({"my column {1}": "x"})["text"] == "x"


def test_fields_say_which_form_is_meant():
    columns = {"text": "t", "q": "1", "a": "2"}
    assert find_form(columns) == "text"
    assert find_form(columns, Fields({"prompt": "q", "completion": "a"})) == "prompt_completion"
    # A field need not be said where the column has its name already.
    assert find_form({"q": "1", "completion": "2"}, Fields({"prompt": "q"})) == "prompt_completion"


@pytest.mark.parametrize(("fields", "problem"), [
    ({"prompts": "q"}, "fields.prompts: no form has such a field; did you mean prompt"),
    ({"prompt": "Q: {question"}, "a brace without its other half at character 4"),
    ({"prompt": "Q: question}"}, "a brace without its other half at character 12"),
    ({"prompt": "Q: {}"}, "braces without a column"), ({"prompt": "{ {a}"}, "without its other half")])
def test_fields_that_cannot_be_are_refused(fields, problem):
    with pytest.raises(ValueError, match=problem):
        Fields(fields)


@pytest.mark.parametrize(("said", "problem"), [
    ("questoin", "fields.text: no column 'questoin'; did you mean question"),
    ("Q: {questoin}", "fields.text: no column 'questoin'; did you mean question"),
    ("Q: {parts}", "fields.text: column 'parts' must be text or a number, not list"),
    ("Q: {nothing}", "fields.text: column 'nothing' must be text or a number, not null"),
    ("parts", "text must be text, not list")])
def test_columns_that_fields_cannot_use_are_told_per_row(said, problem):
    with pytest.raises(ValueError, match=problem):
        content_of(Fields({"text": said}).columns({"question": "Q", "parts": ["a"], "nothing": None}), "text")


def test_what_is_learnt_goes_with_the_form():
    assert [loss_of(Source(path="x"), form) for form in ("messages", "prompt_completion", "alpaca", "text")] == [
        "assistant", "completion", "completion", "all"]
    assert loss_of(Source(path="x", loss="marked"), "messages") == "marked"
    with pytest.raises(ValueError, match="loss: marked does not go with text; it takes all"):
        loss_of(Source(path="x", loss="marked"), "text")


@pytest.mark.parametrize(("columns", "told"), [
    ({"instruction": "a", "output": "b", "history": [["c", "d"]]}, "'history' would be lost: alpaca rows"),
    ({"instruction": "a", "output": "b", "system": "c"}, "'system' would be lost"),
    ({"prompt": "a", "completion": "b", "label": False}, "'label' would be lost: it marks answers"),
])  # fmt: skip
def test_what_other_tools_would_read_is_not_dropped_in_silence(columns, told):
    with pytest.raises(ValueError, match=told):
        content_of(columns, find_form(columns))
    empty = {name: value if name in ("instruction", "output", "prompt", "completion") else None
             for name, value in columns.items()}
    assert content_of(empty, find_form(columns))
