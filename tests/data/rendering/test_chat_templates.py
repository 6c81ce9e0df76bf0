"""The chat template that a recipe names: part of the prepared tokenizer, and of its fingerprint."""

import json

import pytest

from launcher.core.errors import UserError
from launcher.data.prepare import look_up, prepare
from launcher.data.rendering.chat_templates import missing_tokens, shipped_templates, template_text
from launcher.data.tokenizer import stored_tokenizer
from launcher.storage.store import LocalStore
from tests.data.making import CHATML, chat_tokenizer, documents_of, recipe_for, write_rows

CHAT = {"messages": [{"role": "user", "content": "1 + 2"}, {"role": "assistant", "content": "3"}]}


@pytest.fixture
def files(tmp_path):
    chat_tokenizer(None).save_pretrained(tmp_path / "base")
    return {"path": write_rows(tmp_path / "talk.jsonl", [CHAT] * 3)}


def recipe(files, tmp_path, template, tokenizer=None):
    model = {"init": {"architecture": "llama"}, "chat_template": template,
             "tokenizer": tokenizer or {"path": str(tmp_path / "base")}}
    return recipe_for({"talk": files}, model=model)


def test_the_shipped_templates_are_there():
    assert shipped_templates() == ("chatml", "gemma", "llama3", "mistral", "plain", "qwen3", "zephyr")


@pytest.mark.parametrize("template", ["plain", "chatml", "file"])
def test_the_template_becomes_the_tokenizers_own(files, tmp_path, template):
    store = LocalStore(tmp_path / "cache")
    if template == "file":
        template = str(tmp_path / "mine.jinja")
        (tmp_path / "mine.jinja").write_text(CHATML.replace("\n", "\n\n"))
    prepared = prepare(recipe(files, tmp_path, template), store)
    tokenizer = stored_tokenizer(store, prepared.tokenizer.fingerprint)
    assert prepared.tokenizer.chat_template and tokenizer.chat_template == template_text(template)
    tokens, labels = documents_of(store, prepared.sources["talk"])[0]
    assert tokens == tokenizer.apply_chat_template(CHAT["messages"], return_dict=False)
    end = "</s>" if template == "plain" else "<|im_end|>"
    assert tokenizer.decode([token for token, label in zip(tokens, labels, strict=True) if label]) == f"3{end}"


def test_the_fingerprint_changes_with_the_template_and_not_with_its_name(files, tmp_path):
    store = LocalStore(tmp_path / "cache")
    before = prepare(recipe(files, tmp_path, "chatml"), store)
    (tmp_path / "copy.jinja").write_text(template_text("chatml"))
    assert look_up(recipe(files, tmp_path, str(tmp_path / "copy.jinja")), store) == before
    (tmp_path / "copy.jinja").write_text(template_text("chatml") + " ")
    after = prepare(recipe(files, tmp_path, str(tmp_path / "copy.jinja")), store)
    assert after.tokenizer.fingerprint != before.tokenizer.fingerprint
    assert after.sources["talk"].fingerprint != before.sources["talk"].fingerprint


def test_a_template_of_the_recipe_goes_before_one_in_the_tokenizers_files(files, tmp_path):
    store, config = LocalStore(tmp_path / "cache"), tmp_path / "base/tokenizer_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"chat_template": "{{ 1 / 0 }}"}))
    prepared = prepare(recipe(files, tmp_path, "plain"), store)
    assert stored_tokenizer(store, prepared.tokenizer.fingerprint).chat_template == template_text("plain")


def test_a_trained_tokenizer_takes_a_template_too(files, tmp_path):
    store = LocalStore(tmp_path / "cache")
    train = {"train": {"vocab_size": 320}}
    own = prepare(recipe(files, tmp_path, None, train), store)
    plain = prepare(recipe(files, tmp_path, "plain", train), store)
    assert own.tokenizer.fingerprint != plain.tokenizer.fingerprint
    with pytest.raises(UserError, match=r"<\|im_start\|>, <\|im_end\|>, which the tokenizer does not have as single"):
        prepare(recipe(files, tmp_path, "chatml", train), store)


def test_a_template_that_is_not_there_is_refused(files, tmp_path):
    for template, problem in [("chatlm", "neither a Jinja file nor a shipped template; did you mean chatml"),
                              (str(tmp_path / "gone.jinja"), "neither a Jinja file nor a shipped template")]:
        for ask in (prepare, look_up):
            with pytest.raises(UserError, match=problem):
                ask(recipe(files, tmp_path, template), LocalStore(tmp_path / "cache"))
    (tmp_path / "empty.jinja").write_text("\n")
    with pytest.raises(UserError, match="is empty"):
        prepare(recipe(files, tmp_path, str(tmp_path / "empty.jinja")), LocalStore(tmp_path / "cache"))


def test_special_tokens_that_are_not_single_tokens_are_named():
    assert missing_tokens(template_text("llama3"), ["<|eot_id|>"]) == ["<|start_header_id|>", "<|end_header_id|>"]
    assert missing_tokens(template_text("zephyr"), []) == [] == missing_tokens(template_text("plain"), [])
    # A file of one's own says which it needs, or is held to those that the shipped ones know.
    assert missing_tokens("{{ '<end_of_turn>' }}<my>", []) == ["<end_of_turn>"]
    assert missing_tokens("{#- special tokens: <my> -#}{{ '<end_of_turn>' }}<my>", []) == ["<my>"]
