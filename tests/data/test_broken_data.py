"""Broken files: one message that names the file and the row and says what to do."""

import json

import pytest

from launcher.core.errors import DataInvalid
from launcher.data.jsonl import read_rows
from launcher.data.prepare import look_up, prepare
from launcher.storage.store import LocalStore
from tests.data.making import recipe_for

GOOD = b'{"prompt": "1 + 1 =", "completion": "2"}\n'
CHAT = b'{"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]}\n'


def chat(*messages):
    return CHAT + json.dumps({"messages": list(messages)}).encode()


BROKEN = {
    "not json": (GOOD + b"prompt: 1", {}, r":row 2: not JSON \(.*\); write one JSON object on each line"),
    "an array": (b'[\n{"prompt": "1"}]', {}, r":row 1: not JSON .* the file is one JSON array"),
    "an array on one line": (b'[{"prompt": "1"}]', {}, r":row 1: a JSON array, not an object; write rows like"),
    "cut off": (GOOD + GOOD[:-9], {}, r":row 2: not JSON \(Unterminated string"),
    "a number": (GOOD + b"12\n", {}, ":row 2: a JSON number, not an object"),
    "not utf-8": (GOOD + GOOD.replace(b"2", b"\xff"), {}, ":row 2: byte .* is not UTF-8; convert the file"),
    "binary": (b"PAR1\x15\x04\x15\x00\n", {}, ":row 1: not JSON"),
    "nested for ever": (b"[" * 100_000, {}, ":row 1: (nested too deeply|not JSON)"),
    "empty": (b"", {}, "has no rows; a source is a file with one JSON object on each line"),
    "blank lines": (b"\n \n", {}, "has no rows"),
    "unknown columns": (b'{"question": "1", "answer": "2"}', {}, "'question', 'answer' are none of"),
    "no columns": (b"{}", {}, r":row 1: the columns \(none\) are none of the known forms"),
    "two forms at once": (b'{"text": "a", "prompt": "b", "completion": "c"}', {},
                          ":row 1: the columns fit prompt_completion and text; say which with format:"),
    "mixed forms": (GOOD + b'{"text": "a"}', {},
                    ":row 2: no column 'prompt', which prompt_completion needs; this row looks like text"),
    "a missing column": (GOOD + b'\n{"prompt": "a"}', {}, ":row 3: no column 'completion'.*add it or remove the row"),
    "another format": (GOOD, {"format": "messages"}, ":row 1: no column 'messages'"),
    "null": (GOOD + b'{"prompt": null, "completion": "2"}', {}, ":row 2: prompt must be text, not null"),
    "a preference pair": (b'{"prompt": [], "completion": "2"}', {}, ":row 1: prompt must be text, not list"),
    "half a character": (GOOD + b'{"prompt": "\\ud83d", "completion": "2"}', {},
                         ":row 2: prompt holds half of a surrogate pair at character 0"),
    "no messages": (CHAT + b'{"messages": []}', {}, ":row 2: messages must be a list of at least one"),
    "messages as text": (CHAT + b'{"messages": "hi"}', {}, ":row 2: messages must be a list"),
    "another role": (chat({"role": "bot", "content": "A"}), {}, ":row 2: message 1 has the role 'bot'; roles are"),
    "a role in a list": (chat({"role": ["user"], "content": "A"}), {}, ":row 2: message 1 has the role"),
    "other keys": (chat({"speaker": "human", "value": "A"}), {}, ":row 2: message 1 is not .* keys are 'speaker', 'value'"),
    "content in parts": (chat({"role": "user", "content": [{"type": "image_url", "image_url": {}}]}), {},
                         ":row 2: message 1: content has a part that is 'image_url'; only text is learnt"),
    "marks": (chat({"role": "assistant", "content": "\ue0a5turn0\ue0a6"}), {}, ":row 2: .* private-use"),
    "another form's loss": (GOOD, {"loss": "assistant"}, "loss: assistant does not go with prompt_completion"),
    "another form's separator": (CHAT, {"separator": " "}, "separator goes with prompt_completion"),
    "nothing to learn": (b'{"prompt": "1", "completion": ""}', {},
                         "no document is left to train on: of 1 rows 1 have nothing to learn"),
    "all held out": (GOOD, {"holdout": "100%"}, "no document is left to train on: .* and 1 are held out"),
    "all too long": (GOOD, {"too_long": "drop"}, "1 are longer than 4 tokens"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_data_is_told_in_one_message(tmp_path, case):
    data, fields, message = BROKEN[case]
    path = tmp_path / "data.jsonl"
    path.write_bytes(data)
    recipe = recipe_for({"s": {"path": path, **fields}}, sequence_length=4 if "long" in case else 64)
    store = LocalStore(tmp_path / "cache")
    with pytest.raises(DataInvalid, match=message) as caught:
        prepare(recipe, store)
    assert str(path) in str(caught.value) or message.startswith(("loss", "separator"))
    assert "\n" not in str(caught.value)
    assert list(store.list("prepared/")) == [key for key in store.list("prepared/") if "index.json" not in key]


def test_all_files_that_cannot_be_read_are_told_at_once(tmp_path):
    (tmp_path / "folder").mkdir()
    recipe = recipe_for({"gone": tmp_path / "gone.jsonl", "folder": tmp_path / "folder"})
    for ask in (prepare, look_up):
        with pytest.raises(DataInvalid) as caught:
            ask(recipe, LocalStore(tmp_path / "cache"))
        first, second = str(caught.value).split("\n")
        assert first.startswith("sources.gone: ") and "No such file" in first
        assert second.startswith("sources.folder: ") and "Is a directory" in second


def test_unicode_line_separators_inside_strings_end_no_row(tmp_path):
    path = tmp_path / "data.jsonl"
    rows = [{"text": "one\u2028two\u2029three\x85four\x0bfive\x0c"}, {"text": "six"}]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\r\n" for row in rows), encoding="utf-8")
    assert [row.columns for row in read_rows(path)] == rows


def test_a_byte_order_mark_and_blank_lines_are_no_rows(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"text": "a"}\n\n{"text": "b"}')
    found = list(read_rows(path))
    assert [(row.index, row.line, row.columns["text"]) for row in found] == [(0, 1, "a"), (1, 3, "b")]
    assert found[-1].end == path.stat().st_size
