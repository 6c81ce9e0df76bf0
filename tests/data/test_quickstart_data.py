"""The data that ships with launcher."""

import json
from pathlib import Path

from launcher.data.prepare import prepare
from launcher.quickstart import make_data
from launcher.storage.recipes import load_recipe
from launcher.storage.store import LocalStore


def test_the_files_are_what_the_generator_makes(tmp_path, monkeypatch):
    monkeypatch.setattr(make_data, "FOLDER", tmp_path)
    make_data.main()
    shipped = Path(make_data.__file__).parent
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert made == {path.name: path.read_bytes() for path in shipped.glob("*.jsonl")}
    assert sum(map(len, made.values())) < 200_000


def test_the_sums_are_right():
    for line in (Path(make_data.__file__).parent / "stories.jsonl").open("rb"):
        worked, _, answer = json.loads(line)["messages"][1]["content"].partition(". ")
        sum_, _, total = worked.partition(" = ")
        left, sign, right = sum_.split()
        assert int(total) == int(left) + (int(right) if sign == "+" else -int(right))
        assert f" {total} " in answer


def test_the_quickstart_prepares_three_forms_with_holdouts(tmp_path):
    recipe = load_recipe("quickstart").recipe
    prepared = prepare(recipe, LocalStore(tmp_path))
    assert list(prepared.sources) == ["counting", "sums", "stories"]
    for index in prepared.sources.values():
        assert index.holdout.documents > 10 and not index.truncated and not index.dropped_empty
