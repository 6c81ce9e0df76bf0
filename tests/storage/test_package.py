"""A snapshot as one file: unpacked anywhere, it is read as what was submitted."""

from pathlib import Path
from zipfile import ZipFile

import pytest
from rich.console import Console

import launcher
from launcher.cli.preparing import data_of
from launcher.data.cache import cache_store
from launcher.storage import submitting
from launcher.storage.package import recipe_in, write_package
from launcher.storage.recipes import load_recipe
from launcher.storage.submitting import snapshot_of
from tests.cli.a_submission import write_recipe


@pytest.fixture
def snapshot(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(submitting, "own_code", lambda: ({"launcher/__init__.py": Path(launcher.__file__)}, []))
    recipe = write_recipe()
    return snapshot_of(load_recipe(str(recipe)), (), None, [Path("mine/texts.jsonl").absolute()])


def test_the_same_content_is_the_same_file_and_nothing_is_left_out(snapshot, tmp_path):
    for name in ("one.zip", "two.zip"):
        write_package(snapshot, tmp_path / name)
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    folder = f"submitted/{snapshot.name}"
    assert ZipFile(tmp_path / "one.zip").namelist() == ["launcher/__init__.py", *sorted(
        f"{folder}/{name}" for name in ("own.jinja", "own.json", "small.yaml", "submitted.json", "texts.jsonl"))]


def test_where_it_is_unpacked_the_recipe_reads_its_copies_though_the_originals_are_gone(snapshot, tmp_path):
    write_package(snapshot, tmp_path / "package.zip")
    original = load_recipe("mine/small.yaml").recipe
    texts = Path("mine/texts.jsonl").read_text().splitlines()
    Path("mine").rename("gone")
    ZipFile(tmp_path / "package.zip").extractall(tmp_path / "there")
    loaded = load_recipe(str(tmp_path / "there" / recipe_in(snapshot)))
    assert loaded.recipe == original and not loaded.missing
    assert loaded.as_read().sources["texts"].path == str(tmp_path / "there/submitted" / snapshot.name / "texts.jsonl")
    prepared = data_of(loaded, cache_store(str(tmp_path / "cache")), Console(quiet=True))
    assert prepared.sources["texts"].read == len(texts)
