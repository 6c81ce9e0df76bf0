"""Few shots of a source: as many different documents as asked for, by the seed and their content alone."""

import pytest

from launcher.core.errors import DataInvalid
from launcher.core.planning import plan
from launcher.data.prepare import look_up, prepare
from launcher.storage.store import LocalStore
from tests.core.planned import TEMPLATE, recipe
from tests.data.files import SUMS
from tests.data.making import documents_of, recipe_for, write_rows


@pytest.fixture
def store(tmp_path):
    return LocalStore(tmp_path / "cache")


@pytest.fixture
def sums(tmp_path):
    return write_rows(tmp_path / "sums.jsonl", SUMS)


def chosen(store, path, few_shot, **fields):
    index = prepare(recipe_for({"s": {"path": path, "few_shot": few_shot, **fields}}), store).sources["s"]
    return index, set(documents_of(store, index))


def test_as_many_as_asked_for_are_trained_on_and_the_holdout_stays(store, sums):
    whole = prepare(recipe_for({"s": {"path": sums, "holdout": "20%"}}), store).sources["s"]
    index, found = chosen(store, sums, 5, holdout="20%")
    assert len(found) == index.train.documents == 5 and index.holdout == whole.holdout
    assert found <= set(documents_of(store, whole))
    asked = recipe_for({"s": {"path": sums, "holdout": "20%", "few_shot": 5}})
    assert look_up(asked, store).sources["s"] == index


def test_another_seed_chooses_others_and_the_runs_is_the_default(store, sums):
    first, again, other = (chosen(store, sums, {"examples": 6, "seed": seed}) for seed in (0, 0, 1))
    assert first == again and first[1] != other[1]
    assert chosen(store, sums, 6)[0] == first[0], "the recipe's seed is 0"


def test_more_shots_are_the_same_and_more(store, sums):
    counts = [chosen(store, sums, examples)[1] for examples in (2, 7, 20)]
    assert counts[0] < counts[1] < counts[2]


def test_documents_that_are_there_twice_count_once(store, tmp_path):
    path = write_rows(tmp_path / "twice.jsonl", [*SUMS[:4], *SUMS[:4]])
    assert len(chosen(store, path, 4)[1]) == 4
    with pytest.raises(DataInvalid, match=r"few_shot: 5 are wanted, and 4 different documents are left to train on"):
        chosen(store, path, 5)


def test_a_plan_can_be_estimated_from_the_number_of_documents():
    stages = [{"length": {"steps": 2}, "mix": {"a": 1}}]
    known = recipe({"a": {"tokens": "10k", "documents": 1000, "few_shot": 100}}, stages)
    assert plan(known, None, TEMPLATE).sources["a"].tokens == 1000
    unknown = recipe({"a": {"tokens": "10k", "few_shot": 5}}, stages)
    assert plan(unknown, None, TEMPLATE).sources["a"].rows == 5, "at most a row each"
