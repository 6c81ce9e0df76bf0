"""What of a run other machines see, and what is said where they do not."""

from pathlib import Path

import pytest

from launcher.core.errors import RecipeInvalid, UserError
from launcher.platforms import ray_places
from launcher.platforms.ray_places import data_for, shared_cache, shared_run_dir
from launcher.storage.recipes import load_recipe
from tests.cli.a_submission import put, write_recipe

URL = "s3://bucket/runs/small"


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return str(write_recipe())


@pytest.mark.parametrize("option,said", [
    (None, "must outlive the cluster"), ("runs/chat", "is relative"), ("/nowhere/at/all", "this machine sees nothing"),
    ("s3://key:word@bucket/x", "a password in it")])
def test_a_run_directory_that_would_be_lost_is_refused_with_one_that_would_not(option, said):
    with pytest.raises(UserError, match=said) as refused:
        shared_run_dir(option, "chat")
    assert "word@" not in str(refused.value)


def test_a_url_or_a_path_that_is_seen_here_is_taken(tmp_path):
    assert shared_run_dir("s3://bucket/runs/x/", "chat") == "s3://bucket/runs/x"
    assert shared_run_dir(f"{tmp_path}/runs/x", "chat") == f"{tmp_path}/runs/x"


def test_prepared_data_lies_in_the_run_unless_a_place_that_all_see_is_said():
    assert shared_cache(None, "/home/me/.cache", URL) == f"{URL}/cache"
    assert shared_cache(None, "s3://bucket/cache", URL) == "s3://bucket/cache"
    assert shared_cache("/shared/cache", "s3://bucket/cache", URL) == "/shared/cache"
    with pytest.raises(UserError, match="--cache cache: is relative"):
        shared_cache("cache", None, URL)


def test_data_on_this_machine_alone_is_refused_by_its_place_in_the_recipe_and_with_what_to_do(recipe):
    with pytest.raises(RecipeInvalid, match=r"small\.yaml:\d+:\d+: sources\.texts\.path: texts\.jsonl lies on this "
                                            r"machine.*--with-data"):
        data_for(load_recipe(recipe), URL, with_data=False)


def test_files_go_along_where_that_is_asked_for_and_nothing_else_does(recipe):
    assert data_for(load_recipe(recipe), URL, with_data=True).copied == (Path("mine/texts.jsonl").absolute(),)
    put("mine/folder/a.jsonl", "{}")
    for path in ("folder", "fol*/*.jsonl"):
        with pytest.raises(RecipeInvalid, match="is no single file"):
            data_for(load_recipe(recipe, (f"sources.texts.path={path}",)), URL, with_data=True)


def test_data_beside_the_run_directory_is_taken_to_be_seen(recipe, tmp_path):
    found = data_for(load_recipe(recipe), str(tmp_path / "runs/x"), with_data=False)
    assert not found.copied and "texts.jsonl lies where the run directory does" in found.notes[0]


def test_an_absolute_path_may_be_there_on_the_cluster_alone(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(ray_places, "beside", lambda path, run_dir: False)
    gone = load_recipe(recipe, ("sources.texts.path=/data/on/the/cluster.jsonl",))
    assert "is not on this machine" in data_for(gone, URL, with_data=False).notes[0]
    here = load_recipe(recipe, (f"sources.texts.path={tmp_path}/mine/texts.jsonl",))
    assert "must see" in data_for(here, URL, with_data=False).notes[0]


def test_a_relative_path_that_is_nowhere_is_a_mistake(recipe):
    with pytest.raises(RecipeInvalid, match="no such file"):
        data_for(load_recipe(recipe, ("sources.texts.path=txets.jsonl",)), URL, with_data=False)


def test_what_all_machines_see_needs_no_word(recipe):
    for path in ("s3://bucket/texts.jsonl", "hub:owner/name", "package:quickstart/counting.jsonl"):
        found = data_for(load_recipe(recipe, (f"sources.texts.path={path}",)), URL, with_data=True)
        assert found.copied == () and found.notes == ()


def test_a_model_in_a_folder_here_is_told_as_well(recipe):
    put("mine/llama/config.json", "{}")
    loaded = load_recipe(recipe, ("model={path: llama}", "sources.texts.path=s3://bucket/x.jsonl"))
    with pytest.raises(RecipeInvalid, match=r"model\.path: llama lies on this machine"):
        data_for(loaded, URL, with_data=False)
