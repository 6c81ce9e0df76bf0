"""Packing: each document once, no row too full, rows nearly full, quickly."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.core import packing as packing_module
from launcher.core.packing import one_per_row, pack

LENGTHS = st.lists(st.integers(1, 64), max_size=300)


def rows(packing):
    return [packing.order[a:b].tolist() for a, b in zip(packing.row_offsets, packing.row_offsets[1:], strict=False)]


def plain_best_fit_decreasing(lengths, capacity):
    """Count the rows of the textbook algorithm, one document at a time."""
    spaces: list[int] = []
    for length in sorted(lengths, reverse=True):
        fitting = [space for space in spaces if space >= length]
        space = min(fitting, default=capacity)
        if fitting:
            spaces.remove(space)
        spaces.append(space - length)
    return len(spaces), sorted(spaces)


@given(LENGTHS)
def test_each_document_is_in_one_row_and_no_row_is_too_full(lengths):
    packing = pack(np.array(lengths, dtype=np.int32), 64)
    assert sorted(packing.order.tolist()) == list(range(len(lengths)))
    for row in rows(packing):
        assert row == sorted(row) and 0 < sum(lengths[document] for document in row) <= 64


@given(LENGTHS)
def test_groups_give_what_one_document_at_a_time_gives(lengths):
    spaces = sorted(64 - sum(lengths[document] for document in row) for row in rows(pack(np.array(lengths, int), 64)))
    assert (len(spaces), spaces) == plain_best_fit_decreasing(lengths, 64)


@given(LENGTHS)
def test_rows_go_by_their_first_document(lengths):
    firsts = [row[0] for row in rows(pack(np.array(lengths, dtype=np.int64), 64))]
    assert firsts == sorted(firsts)


def test_more_than_a_window_is_packed_window_by_window(monkeypatch):
    lengths = np.random.default_rng(3).integers(1, 65, 1234)
    monkeypatch.setattr(packing_module, "WINDOW", 500)
    packing = pack(lengths, 64)
    assert sorted(packing.order.tolist()) == list(range(1234)) and packing.row_offsets[-1] == 1234
    for row in rows(packing):
        assert row == sorted(row) and 0 < sum(lengths[document] for document in row) <= 64
        assert len({document // 500 for document in row}) == 1
    firsts = [row[0] for row in rows(packing)]
    assert firsts == sorted(firsts)


def test_nothing_packs_into_nothing():
    assert pack(np.zeros(0, dtype=np.int64), 8).rows == one_per_row(np.zeros(0, dtype=np.int64)).rows == 0


def test_one_per_row_keeps_the_order():
    assert rows(one_per_row(np.array([3, 9, 1]))) == [[0], [1], [2]]


@pytest.mark.parametrize("lengths", [[0, 3], [3, 9]])
def test_lengths_that_no_row_holds_are_refused(lengths):
    with pytest.raises(ValueError, match=r"rows hold documents of 1\.\.8"):
        pack(np.array(lengths), 8)


def test_a_million_documents_take_a_moment_and_waste_nothing():
    lengths = np.clip(np.random.default_rng(0).lognormal(5.5, 1.0, 1_000_000), 1, 2048).astype(np.int64)
    begin = time.process_time()
    packing = pack(lengths, 2048)
    # 0.2 s on one core; the bound leaves room for a slow machine, and this process's time for a busy one.
    assert time.process_time() - begin < 1.5
    assert lengths.sum() / (packing.rows * 2048) > 0.999
