"""What a job is given on submission: data that is prepared, and copies of what may change while it waits."""

import shutil
import stat
import sys
from pathlib import Path

import pytest
from rich.console import Console

from launcher.cli.preparing import data_of
from launcher.cli.submission import SubmitOptions
from launcher.cli.submit import submit
from launcher.core.errors import DataInvalid, UserError
from launcher.data.cache import cache_store
from launcher.storage.recipes import load_recipe
from tests.cli.a_submission import RECIPE, put, script_arguments, told


def test_data_is_prepared_before_and_the_job_asks_nobody_for_it(capsys, recipe):
    submit([str(recipe)], SubmitOptions(), dry_run=False)
    assert "exact plan: 3 steps" in capsys.readouterr().err and list(Path("cache/prepared").iterdir())
    environment = told()[1]
    assert environment["HF_HUB_OFFLINE"] == environment["HF_DATASETS_OFFLINE"] == "1"
    # The data's own files may be gone by then, and its place unreachable.
    for file in ("mine/texts.jsonl", "mine/own.jinja"):
        Path(file).unlink()
    loaded = load_recipe(script_arguments()[0], ["cluster.nodes=2"])
    loaded.require_data()
    assert loaded.prepared is not None and loaded.prepared.sources["texts"].read == 40
    assert data_of(loaded, cache_store(None), Console(stderr=True)) is loaded.prepared
    assert load_recipe(script_arguments()[0], ["sources.texts.holdout=3"]).prepared is None, "it is other data"
    shutil.rmtree("cache")
    with pytest.raises(DataInvalid, match="no such file"):
        data_of(loaded, cache_store(None), Console(stderr=True))
    assert "not in the cache here" in capsys.readouterr().err


def test_a_job_that_is_to_prepare_by_itself_is_told_of_and_is_not_cut_off(capsys, monkeypatch, recipe):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    submit([str(recipe)], SubmitOptions(prepare=False), dry_run=False)
    assert "on its first node" in capsys.readouterr().err and not Path("cache").exists()
    assert "HF_HUB_OFFLINE" not in told()[1]
    assert load_recipe(script_arguments()[0]).prepared is None


def test_a_machine_that_cannot_prepare_leaves_it_to_the_job(capsys, monkeypatch, recipe):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    submit([str(recipe)], SubmitOptions(), dry_run=False)
    assert "cannot be prepared here (import of tokenizers" in capsys.readouterr().err
    assert load_recipe(script_arguments()[0]).prepared is None


def test_a_model_that_cannot_be_fetched_is_told_before_anything_waits_in_a_queue(monkeypatch, recipe):
    def fetch(path, *, weights):
        raise UserError(f"{path} is fetched {'with' if weights else 'without'} weights")

    monkeypatch.setattr("launcher.cli.submission.model_folder", fetch)
    options = SubmitOptions(overrides=("model={path: owner/name}",))
    with pytest.raises(UserError, match="owner/name is fetched with weights"):
        submit([str(recipe)], options, dry_run=False)
    assert not Path("told").exists()


def test_a_queued_job_runs_what_was_submitted_whatever_becomes_of_the_files(recipe):
    before = load_recipe(str(recipe))
    submit([str(recipe)], SubmitOptions(), dry_run=False)
    copy = script_arguments()[0]
    put("mine/small.yaml", RECIPE.replace("steps: 3", "steps: 300").replace("texts.jsonl", "nowhere.jsonl"))
    put("mine/own.json", "{}")
    put("mine/own.jinja", "")
    queued = load_recipe(copy)
    assert (queued.recipe, queued.ds_template, queued.text) == (before.recipe, before.ds_template, before.text)
    assert Path(queued.as_read().model.chat_template or "").read_text().startswith("{% for")
    assert queued.where(("stages",)).startswith(str(recipe.absolute()))


def test_a_copy_is_made_once_and_another_one_of_what_has_changed(recipe):
    def submitted():
        submit([str(recipe)], SubmitOptions(prepare=False), dry_run=False)
        return Path(script_arguments()[0]).parent

    first = submitted()
    assert submitted() == first
    copied = [file for file in first.rglob("*.*") if file.is_file() and file.suffix != ".pyc"]
    assert copied and not any(file.stat().st_mode & stat.S_IWUSR for file in copied)
    put("mine/own.json", '{"zero_optimization": {"stage": 1}}')
    assert submitted() != first and first.is_dir()


def test_what_is_too_large_to_copy_is_refused(monkeypatch, recipe):
    monkeypatch.setattr("launcher.storage.submitting.LARGEST", 500)
    with pytest.raises(UserError, match="more than"):
        submit([str(recipe)], SubmitOptions(prepare=False), dry_run=False)
    assert not Path("told").exists()
