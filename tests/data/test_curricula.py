"""Curricula: a source's documents in the order of their length or of a column, in its first epoch."""

from itertools import pairwise

import numpy as np
import pytest

from launcher.core.errors import DataInvalid
from launcher.core.mixing import SMALLEST_BLOCK, locate
from launcher.core.packing import pack_in_order
from launcher.core.planning import plan
from launcher.data.packed import PackedSplit
from launcher.data.prepare import prepare
from launcher.storage.store import LocalStore
from tests.core.planned import TEMPLATE, prepared, recipe
from tests.data.files import SUMS
from tests.data.making import recipe_for, write_rows

RANKED = [{**row, "level": str((number * 7) % len(SUMS))} for number, row in enumerate(SUMS)]


@pytest.fixture
def store(tmp_path):
    return LocalStore(tmp_path / "cache")


@pytest.fixture
def path(tmp_path):
    return write_rows(tmp_path / "sums.jsonl", RANKED)


def in_rows(store, path, split="train", **fields):
    """Return the documents of each row of a prepared source, and their lengths."""
    index = prepare(recipe_for({"s": {"path": path, **fields}}), store).sources["s"]
    rows = PackedSplit(store, index, split)
    found = [rows.row(number) for number in range(rows.rows)]
    starts = [np.flatnonzero(row.positions == 0) for row in found]
    return ([list(row.documents) for row in found],
            [list(np.diff(np.append(at, len(row.positions)))) for at, row in zip(starts, found, strict=True)])


def levels(rows):
    return [int(RANKED[document]["level"]) for row in rows for document in row]


def test_documents_come_by_the_number_in_a_column(store, path):
    rows, _ = in_rows(store, path, order={"column": "level"})
    assert levels(rows) == list(range(len(SUMS))) and max(map(len, rows)) > 1
    rows, _ = in_rows(store, path, order={"column": "level", "direction": "descending"}, packing="one_per_row")
    assert levels(rows) == list(reversed(range(len(SUMS)))) and len(rows) == len(SUMS)


def test_documents_come_by_their_length(store, path):
    for direction, sign in (("ascending", 1), ("descending", -1)):
        _, lengths = in_rows(store, path, order={"by": "length", "direction": direction})
        flat = [sign * length for row in lengths for length in row]
        assert flat == sorted(flat) and len(set(flat)) > 1


def test_what_is_held_out_is_neither_seen_nor_ordered(store, path, tmp_path):
    rows, _ = in_rows(store, path, order={"column": "level"}, holdout="30%")
    assert levels(rows) == sorted(levels(rows)) and len(levels(rows)) < len(SUMS)
    # A file of its own needs no such column.
    held = write_rows(tmp_path / "held.jsonl", [{"prompt": "1 + 1", "completion": "two"}])
    assert in_rows(store, path, "holdout", order={"column": "level"}, holdout=str(held))[0] == [[0]]


def test_parts_of_a_long_document_stay_together(store, tmp_path):
    texts = [{"text": "one two three four five six seven eight nine ten " * (1 + number % 3)} for number in range(9)]
    path = write_rows(tmp_path / "long.jsonl", [{"text": row["text"] + str(n)} for n, row in enumerate(texts)])
    rows, _ = in_rows(store, path, order="length", too_long="split")
    seen = [document for row in rows for document in row]
    assert [document for before, document in pairwise([None, *seen]) if document != before] == [
        0, 3, 6, 1, 4, 7, 2, 5, 8]


@pytest.mark.parametrize(("change", "message"), [
    ({"order": {"column": "lvel"}}, r"order\.column: no column 'lvel'; did you mean level\?"),
    ({"order": {"column": "prompt"}}, r"order\.column: prompt is '.*', which is no number to order by"),
])  # fmt: skip
def test_a_row_without_a_number_is_refused_with_its_place(store, path, change, message):
    with pytest.raises(DataInvalid, match=r"sums\.jsonl:row 1: " + message):
        in_rows(store, path, **change)


def test_rows_are_filled_in_order_until_the_next_does_not_fit():
    packing = pack_in_order(np.array([3, 9, 4, 6, 10, 1]), 10, np.array([5, 0, 2, 3, 1, 4]))
    assert packing.row_offsets.tolist() == [0, 3, 4, 5, 6]


def test_the_first_epoch_of_an_ordered_source_goes_from_row_to_row_across_stages_and_later_ones_are_shuffled():
    stages = [{"length": {"steps": 15}, "mix": {"a": 2, "b": 1}},
              {"length": {"steps": 70}, "mix": {"b": 1}, "mix_end": {"a": 9, "b": 1}}]
    made = plan(recipe({"a": {"order": "length"}, "b": None}, stages), prepared({"a": 200, "b": 90}), TEMPLATE)
    assert made.stages[0].ordered == ("a",) and made.stages[0].block == SMALLEST_BLOCK
    places = [locate(stage, row, {"a": 200, "b": 90}, made.seed) for stage in made.stages for row in range(stage.rows)]
    of_a = [place for place in places if place.source == "a"]
    assert [(place.epoch, place.index) for place in of_a[:200]] == [(0, index) for index in range(200)]
    later = [place.index for place in of_a if place.epoch == 1]
    assert len(set(later)) == len(later) > 30 and later != sorted(later)
    of_b = [place.index for place in places if place.source == "b"][:90]
    assert sorted(of_b) == list(range(90)) != of_b


def test_a_row_of_a_curriculum_is_found_wherever_it_is():
    stages = [{"length": {"steps": 2_000_000}, "mix": {"a": 10**6, "b": 1}}]
    made = plan(recipe({"a": {"order": "length"}, "b": None}, stages), prepared({"a": 10**7, "b": 100}), TEMPLATE)
    (stage,), lengths = made.stages, {"a": 10**7, "b": 100}
    assert stage.block == SMALLEST_BLOCK, "however seldom another source comes"
    near = [locate(stage, row, lengths, 0).index for row in range(9_000_000, 9_000_064)]
    assert [after - before for before, after in pairwise(near)] == [1] * 63
