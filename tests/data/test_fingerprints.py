"""What was prepared is found by fingerprints: another byte, tokenizer or length of row, and it is made anew.

What of a source they cover is `test_identity`.
"""

import pytest

from launcher.data.prepare import look_up, prepare
from launcher.storage.store import LocalStore
from tests.data.files import SUMS, TALK
from tests.data.making import CHATML, chat_tokenizer, recipe_for, write_rows


@pytest.fixture
def files(tmp_path):
    return {"sums": write_rows(tmp_path / "sums.jsonl", SUMS), "talk": write_rows(tmp_path / "talk.jsonl", TALK)}


@pytest.fixture
def store(tmp_path):
    return LocalStore(tmp_path / "cache")


@pytest.mark.parametrize("changed", [{"sequence_length": 65}, {"tokenizer": {"train": {"vocab_size": 321}}}], ids=str)
def test_the_fingerprint_changes_with_what_the_whole_recipe_says_of_rows(files, store, changed):
    before = prepare(recipe_for({"sums": files["sums"]}), store).sources["sums"].fingerprint
    assert look_up(recipe_for({"sums": files["sums"]}, **changed), store) is None
    assert prepare(recipe_for({"sums": files["sums"]}, **changed), store).sources["sums"].fingerprint != before


def test_the_fingerprint_changes_with_nothing_else(files, store, tmp_path):
    before = prepare(recipe_for({"sums": files["sums"]}), store)
    moved = tmp_path / "elsewhere.jsonl"
    moved.write_bytes(files["sums"].read_bytes())
    described = {"path": moved, "format": "prompt_completion", "loss": "completion", "tokens": "1k"}
    found = look_up(recipe_for({"other": described}, seed=3, learning_rate=1e-3, name="another"), store)
    assert found is not None
    assert found.sources["other"] == before.sources["sums"].model_copy(update={"source": "other"})
    assert found.tokenizer == before.tokenizer


@pytest.mark.parametrize("what", ["data", "chat_template.jinja", "tokenizer.json", "recipe's template"])
def test_one_byte_makes_another_fingerprint_and_a_name_does_not(files, store, tmp_path, what):
    folder = tmp_path / "model"
    chat_tokenizer(CHATML).save_pretrained(folder)
    (folder / "chat_template.jinja").write_text(CHATML)
    (tmp_path / "chat.jinja").write_text(CHATML)
    model = {"init": {"architecture": "llama"}, "tokenizer": {"path": str(folder)}}
    if "recipe" in what:
        model["chat_template"] = str(tmp_path / "chat.jinja")

    def fingerprint(path, name="talk"):
        return prepare(recipe_for({name: path}, model=model), store).sources[name].fingerprint

    before = fingerprint(files["talk"])
    moved = tmp_path / "renamed.jsonl"
    moved.write_bytes(files["talk"].read_bytes())
    assert fingerprint(moved, "other") == before
    changed = {"data": files["talk"], "recipe's template": tmp_path / "chat.jinja"}.get(what, folder / what)
    old, new = {"data": (b"after one?", b"after One?"), "tokenizer.json": (b'"version"', b'"version" ')}.get(
        what, (b"{{ m['content'] }}<|im_end|>", b"{{ m['content'] }} <|im_end|>"))
    text = changed.read_bytes()
    assert old in text
    changed.write_bytes(text.replace(old, new, 1))
    assert fingerprint(files["talk"]) != before


def test_a_tokenizer_in_a_directory_is_known_by_its_files(files, store, tmp_path):
    folder = tmp_path / "model"
    chat_tokenizer(CHATML).save_pretrained(folder)
    recipe = recipe_for({"talk": files["talk"]}, tokenizer={"path": str(folder)})
    before = prepare(recipe, store)
    assert before.tokenizer.bos is not None and before.tokenizer.chat_template
    (folder / "README.md").write_text("nothing to do with tokens")
    assert look_up(recipe, store) == before
    (folder / "chat_template.jinja").write_text(CHATML.replace("\n", "\n\n"))
    assert look_up(recipe, store) is None
    after = prepare(recipe, store)
    assert after.sources["talk"].train.tokens > before.sources["talk"].train.tokens


def test_a_file_that_is_written_again_is_read_again(files, store):
    recipe = recipe_for({"sums": files["sums"]})
    first = prepare(recipe, store)
    data = files["sums"].read_bytes()
    files["sums"].write_bytes(data.replace(b'"0 + 0 ="', b'"0 + 9 ="'))  # the same size, within the clock's tick
    assert look_up(recipe, store) is None
    files["sums"].write_bytes(data)
    assert look_up(recipe, store) == first
