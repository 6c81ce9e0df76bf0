"""Where a model's files are, and what is said when they are not."""

import json
import os

import pytest

from launcher.core.errors import UserError
from launcher.data.model_files import base_fingerprint, model_folder, weight_sources, whole_model_folder
from launcher.storage.sources import whole
from launcher.storage.store import open_store


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    return tmp_path


def test_a_directory_needs_weights_only_where_they_are_read(folder):
    assert model_folder(str(folder), weights=False) == folder
    with pytest.raises(UserError, match=r"has no \*\.safetensors file"):
        model_folder(str(folder), weights=True)
    (folder / "model.safetensors").write_bytes(b"")
    assert model_folder(str(folder), weights=True) == folder


def test_a_shard_that_is_missing_is_named(folder):
    (folder / "model-00001-of-00002.safetensors").write_bytes(b"")
    names = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    with pytest.raises(UserError, match="has no model-00002-of-00002"):
        model_folder(str(folder), weights=True)


def test_files_in_the_hubs_cache_are_used_without_the_network(folder, monkeypatch):
    asked = []
    monkeypatch.setattr("huggingface_hub.snapshot_download",
                        lambda *_, local_files_only, **__: asked.append(local_files_only) or str(folder))
    assert model_folder("owner/name", weights=False) == folder
    assert asked == [True]


def test_what_the_cache_lacks_is_fetched(folder, monkeypatch):
    asked = []

    def fetch(_, allow_patterns, local_files_only):
        asked.append((local_files_only, "*.safetensors" in allow_patterns))
        if not local_files_only:
            (folder / "model.safetensors").write_bytes(b"")
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
    assert model_folder("owner/name", weights=True) == folder
    assert asked == [(True, True), (False, True)]


def test_a_hub_that_cannot_be_reached_is_told(monkeypatch):
    def fail(*_, **__):
        raise OSError("no route\nand much more")

    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    with pytest.raises(UserError, match=r"owner/name: there is no such directory, and it cannot .*\(no route\)"):
        model_folder("owner/name", weights=False)


@pytest.mark.parametrize("path", ["/no/such/model", "./model", "a/b/c"])
def test_a_path_is_never_asked_for_on_the_hub(path):
    with pytest.raises(UserError, match="there is no such directory"):
        model_folder(path, weights=False)


def test_a_model_in_an_object_store_is_read_there_and_is_the_same_model(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("LAUNCHER_SCRATCH", str(tmp_path / "scratch"))
    store = open_store(url := f"memory://models/{os.urandom(4).hex()}")
    with pytest.raises(UserError, match="has no"):
        model_folder(url, weights=False)
    for name in ("model-1.safetensors", "model-2.safetensors"):
        (folder / name).write_bytes(os.urandom(300_000))
        store.put(name, (folder / name).read_bytes())
    with pytest.raises(UserError, match=r"has no config\.json"):
        model_folder(url, weights=True)
    for name in ("config.json", "tokenizer.json"):
        (folder / name).write_text("{}")
        store.put(name, b"{}")
    here = model_folder(url, weights=True)
    assert sorted(path.name for path in here.iterdir()) == ["config.json", "tokenizer.json"], "no weights are fetched"
    assert [source.name for source in weight_sources(url)] == ["model-1.safetensors", "model-2.safetensors"]
    assert list(map(whole, weight_sources(url))) == list(map(whole, weight_sources(str(folder))))
    assert base_fingerprint(url) == base_fingerprint(str(folder))
    for _ in range(2):
        assert (whole_model_folder(url) / "model-2.safetensors").read_bytes() == whole(weight_sources(url)[1])


def test_small_files_of_a_model_are_fetched_once_for_all_processes_of_a_node(bucket, tmp_path, monkeypatch):
    monkeypatch.setenv("LAUNCHER_SCRATCH", str(tmp_path / "scratch"))
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        bucket.put(f"runs/x/{name}", b"{}")
    for _ in range(3):
        here = model_folder(bucket.url, weights=True)
    assert (here / "tokenizer.json").read_text() == "{}"
    fetched = [given.path.rpartition("/")[2] for given in bucket.relay.given if "?" not in given.path]
    assert sorted(fetched) == ["config.json", "tokenizer.json"]
    open_store(bucket.url).put("tokenizer.json", b"[]")
    assert (model_folder(bucket.url, weights=True) / "tokenizer.json").read_text() == "[]"
