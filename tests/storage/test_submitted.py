"""Copies of a recipe and its files: what a job reads through them."""

import json
from pathlib import Path

import pytest

from launcher.storage import submitting
from launcher.storage.recipes import load_recipe
from launcher.storage.submitted import Files, run_of_copy
from launcher.storage.submitting import Snapshot, discard, snapshot_of

DS = {"zero_optimization": {"stage": 2}}
BASE = """
name: n
model: {init: {architecture: llama}, tokenizer: {train: {}}}
deepspeed: ../ds/x.json
sequence_length: 64
sources: {a: {path: data/a.jsonl}}
stages: [{name: s, length: {steps: 3}, mix: {a: 1}, learning_rate: 1e-3}]
batch: {rows: 2}
"""


@pytest.fixture
def snapshot(tmp_path, monkeypatch) -> Snapshot:
    """Write a recipe that extends another of the same file name in another folder, and take a snapshot of it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(submitting, "own_code", lambda: ({}, []))
    for name, text in (("base/r.yaml", BASE), ("ds/x.json", json.dumps(DS)), ("base/data/a.jsonl", "{}"),
                       ("r.yaml", "extends: base/r.yaml\nseed: 3\n")):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(text)
    return snapshot_of(load_recipe("r.yaml"), (), None)


def test_paths_mean_what_they_meant_where_they_were_written(snapshot, tmp_path, monkeypatch):
    copy = snapshot.keep(Path("run")) / snapshot.described.recipe
    Path("ds/x.json").unlink()
    Path("base/r.yaml").write_text("name: another")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    loaded = load_recipe(str(copy))
    assert loaded.recipe.sources["a"].path == str(tmp_path / "base/data/a.jsonl")
    assert (loaded.recipe.name, loaded.recipe.seed, loaded.ds_template) == ("n", 3, DS)
    loaded.require_data()


def test_a_copy_knows_its_run_and_any_other_file_is_its_own(snapshot, tmp_path):
    copy = snapshot.keep(Path("run")) / snapshot.described.recipe
    assert run_of_copy(str(copy)) == str(tmp_path / "run") and run_of_copy("r.yaml") is None
    assert Files(copy).recipe == tmp_path / "r.yaml"
    assert Files(Path("r.yaml")).copy(Path("ds/x.json")) == Path("ds/x.json")


def test_a_snapshot_of_a_copy_is_the_same_snapshot(snapshot):
    copy = snapshot.keep(Path("run")) / snapshot.described.recipe
    Path("ds/x.json").write_text("changed")
    assert snapshot_of(load_recipe(str(copy)), (), None).name == snapshot.name


def test_what_was_discarded_leaves_nothing_of_a_run_that_never_was_and_all_of_another(snapshot):
    discard(snapshot.keep(Path("run")))
    assert not Path("run").exists()
    kept = snapshot.keep(Path("run"))
    Path("run/journal.jsonl").touch()
    discard(kept)
    assert [path.name for path in Path("run").iterdir()] == ["journal.jsonl"]
