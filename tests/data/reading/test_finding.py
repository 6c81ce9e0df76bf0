"""Which files a source has, and in which order."""

import json
from pathlib import Path

import pytest

from launcher.core.errors import DataInvalid
from launcher.core.recipe_sources import Source
from launcher.data.reading import open_holdout, open_source
from launcher.data.reading.splits import split_named
from launcher.storage.data_paths import absolute_data_path, local_files
from tests.data.files import SUMS, arrow_file, lines


@pytest.fixture
def folder(tmp_path):
    for name in ("b/2.jsonl", "b/10.jsonl", "a.jsonl", "c.jsonl.gz", ".hidden.jsonl", "_temporary/d.jsonl",
        "README.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(lines([{"text": name}]))
    (tmp_path / "c.jsonl.gz").unlink()
    return tmp_path


def found(*paths, **said):
    return open_source(Source(path=tuple(map(str, paths)), **said)).files


def texts(files):
    return [row.columns["text"] for batch in files.batches() for row in batch.rows()]


def test_a_folder_is_its_data_files_sorted(folder):
    assert found(folder) == tuple(str(folder / name) for name in ("a.jsonl", "b/10.jsonl", "b/2.jsonl"))
    assert local_files(str(folder)) == tuple(map(Path, found(folder)))


@pytest.mark.parametrize(("name", "split"), [
    ("/train-00000-of-00003.parquet", "train"), ("/data/test/0.jsonl", "test"), ("/medical_validation.csv", "test"),
    ("/TRAIN.jsonl", "train"), ("/training.jsonl", "train"), ("/trained.jsonl", None), ("/latest.jsonl", None),
    ("/2024.jsonl", None)])
def test_a_name_says_of_which_split_a_file_is(name, split):
    assert split_named(name) == split


def test_globs_are_sorted_and_lists_keep_their_order(folder):
    assert found(folder / "*" / "*0.jsonl", folder / "a.jsonl") == (str(folder / "b/10.jsonl"), str(folder / "a.jsonl"))
    assert found(folder / "**" / "*.jsonl") == tuple(str(folder / name) for name in (
        "_temporary/d.jsonl", "a.jsonl", "b/10.jsonl", "b/2.jsonl"))
    assert found(f"file://{folder}/b/*.jsonl") == (str(folder / "b/10.jsonl"), str(folder / "b/2.jsonl"))


def test_a_file_may_be_named_as_a_glob_is_written(folder):
    (folder / "a[1].jsonl").write_bytes(lines([{"text": "a"}]))
    assert found(folder / "a[1].jsonl") == (str(folder / "a[1].jsonl"),)


def test_a_holdout_is_found_as_the_source_is(folder):
    source = Source(path=str(folder / "a.jsonl"), holdout=str(folder / "b" / "*"))
    held = open_holdout(source)
    assert held is not None and texts(held) == ["b/10.jsonl", "b/2.jsonl"]
    assert open_holdout(Source(path="x", holdout="2%")) is None


def test_saved_datasets_are_read_in_the_order_of_their_record(tmp_path):
    for split, text in (("train", "one"), ("test", "two")):
        saved = tmp_path / "saved" / split
        saved.mkdir(parents=True)
        names = ["data-00001-of-00002.arrow", "data-00000-of-00002.arrow"]
        for name in names:
            (saved / name).write_bytes(arrow_file([{"text": f"{text} {name[9]}"}], stream=True))
        (saved / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))
    (tmp_path / "saved" / "dataset_dict.json").write_text('{"splits": ["test", "train"]}')
    assert texts(open_source(Source(path=str(tmp_path / "saved")))) == ["one 1", "one 0"]
    assert texts(open_source(Source(path=str(tmp_path / "saved"), split="test"))) == ["two 1", "two 0"]
    assert texts(open_source(Source(path=f"file://{tmp_path}/saved", split="test"))) == ["two 1", "two 0"]
    assert texts(open_source(Source(path=str(tmp_path / "saved" / "test")))) == ["two 1", "two 0"]


def test_what_datasets_saves_is_read(tmp_path):
    import datasets

    made = datasets.Dataset.from_list(SUMS)
    datasets.DatasetDict({"train": made.select(range(30)),
        "test": made.select(range(30, 36))}).save_to_disk(tmp_path / "d")
    made.shuffle(seed=0).save_to_disk(tmp_path / "one", num_shards=3)
    rows = [row.columns for batch in open_source(Source(path=str(tmp_path / "d"), split="test")).batches()
            for row in batch.rows()]
    assert rows == SUMS[30:]
    shuffled = [row.columns for batch in open_source(Source(path=str(tmp_path / "one"))).batches()
                for row in batch.rows()]
    assert shuffled == made.shuffle(seed=0).to_list() != SUMS


def test_an_id_of_the_hub_is_one_unless_such_a_path_exists(folder):
    assert absolute_data_path("owner/name", folder) == "hub:owner/name"
    assert absolute_data_path("hub:b/name", folder) == "hub:b/name"
    (folder / "b" / "name").mkdir()
    assert absolute_data_path("b/name", folder) == str(folder / "b/name")
    for path in ("data/a.jsonl", "data/a.csv.gz", "data/*", "a/b/c", "data"):
        assert absolute_data_path(path, folder) == str(folder / path)
    assert absolute_data_path("s3://bucket/a.jsonl", folder) == "s3://bucket/a.jsonl"


def test_nothing_is_read_before_it_is_asked_for(folder):
    (folder / "a.jsonl").write_bytes(b"nonsense")
    files = open_source(Source(path=str(folder / "a.jsonl")))
    with pytest.raises(DataInvalid, match=r"a\.jsonl:row 1: not JSON"):
        files.first_row()
