"""Order: shares are exact, each epoch visits each row once, and the number of ranks does not matter."""

import time
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.core.dealing import deal
from launcher.core.mixing import block_size, locate, quota
from launcher.core.recipe import Optimizer, Schedule
from launcher.core.run_plan import StagePlan

WEIGHTS = st.dictionaries(st.sampled_from("abcdefg"), st.integers(1, 10_000), min_size=1)


def stage(weights, rows, *, index=0, consumed=None, steps=1):
    return StagePlan(index=index, name=f"stage{index}", first_step=1, steps=steps, first_row=0, rows=rows,
                     weights=weights, block=block_size(weights), consumed_before=consumed or {},
                     learning_rate=1e-3, schedule=Schedule(), optimizer=Optimizer())


@given(WEIGHTS, st.integers(0, 10**9))
def test_cumulative_shares_are_exact_and_whole(weights, rows):
    counts, total = quota(rows, weights), sum(weights.values())
    assert sum(counts.values()) == rows
    # Within one row of the exact share, in integers: no rounding error can build up.
    assert all(abs(counts[source] * total - rows * weight) < total for source, weight in weights.items())


@given(WEIGHTS, st.integers(0, 10_000), st.integers(0, 10_000))
def test_no_source_gives_rows_back_from_block_to_block(weights, number, extra):
    block = block_size(weights)
    before, after = quota(number * block, weights), quota((number + 1) * block + extra % block, weights)
    assert all(after[source] >= before[source] for source in weights)


def test_smaller_blocks_would_take_rows_back():
    # The Alabama paradox, which `block_size` is there to avoid: one row more, and c has one less.
    weights = {"a": 6, "b": 6, "c": 2}
    assert quota(10, weights)["c"] == 2 and quota(11, weights)["c"] == 1


@given(WEIGHTS, st.integers(1, 3000))
def test_a_stage_has_its_quota_of_each_source(weights, rows):
    planned = stage(weights, rows)
    lengths = dict.fromkeys(weights, 10**6)
    found = Counter(locate(planned, row, lengths, seed=5).source for row in range(rows))
    assert {source: found[source] for source in weights} == quota(rows, weights)


def test_shares_are_exact_at_each_block_end():
    weights = {"reasoning": 3, "medicine": 1}
    planned = stage(weights, 64 * 5 + 10)
    seen: Counter[str] = Counter()
    for row in range(64 * 4):
        seen[locate(planned, row, {"reasoning": 7, "medicine": 9}, seed=0).source] += 1
        if (row + 1) % 64 == 0:
            assert seen == {"reasoning": (row + 1) * 3 // 4, "medicine": (row + 1) // 4}


def test_each_epoch_visits_each_row_once_across_stages():
    lengths = {"a": 13, "b": 50}
    first = stage({"a": 1, "b": 2}, 300)
    second = stage({"a": 3, "b": 1}, 517, index=1, consumed=quota(300, first.weights))
    visits = [locate(planned, row, lengths, seed=3) for planned in (first, second) for row in range(planned.rows)]
    per_epoch = Counter((address.source, address.epoch) for address in visits)
    assert len(set(visits)) == len(visits), "a row was seen twice in an epoch"
    for (source, epoch), count in per_epoch.items():
        last = max(e for s, e in per_epoch if s == source)
        assert count == lengths[source] or epoch == last


def test_epochs_blocks_and_seeds_have_orders_of_their_own():
    planned = stage({"a": 1}, 64 * 4)

    def order(number, seed):
        return tuple(locate(planned, 64 * number + i, {"a": 64}, seed).index for i in range(64))

    orders = {order(number, seed) for number in range(4) for seed in range(4)}
    assert len(orders) == 16 and all(sorted(each) == list(range(64)) for each in orders)


@pytest.mark.parametrize("rows_per_step", [6, 13])
def test_any_number_of_ranks_sees_the_same_rows_in_each_step(rows_per_step):
    planned, lengths = stage({"a": 5, "b": 2}, 100, steps=-(-100 // rows_per_step)), {"a": 17, "b": 30}

    def step(number, ranks, micro_batch):
        first = number * rows_per_step
        dealt = deal(range(first, min(first + rows_per_step, planned.rows)), ranks, micro_batch)
        return [locate(planned, row, lengths, seed=9) for rank in dealt for batch in rank for row in batch]

    for number in range(planned.steps):
        alone = step(number, 1, rows_per_step)
        for ranks, micro_batch in ((2, 4), (3, 1), (8, 2)):
            assert step(number, ranks, micro_batch) == alone


def test_the_order_of_the_mix_in_the_recipe_does_not_matter():
    forward, backward = stage({"a": 1, "b": 1, "c": 1}, 200), stage({"c": 1, "b": 1, "a": 1}, 200)
    lengths = {"a": 5, "b": 6, "c": 7}
    assert [locate(forward, r, lengths, 1) for r in range(200)] == [locate(backward, r, lengths, 1) for r in range(200)]


def test_a_row_outside_the_stage_is_refused():
    with pytest.raises(IndexError):
        locate(stage({"a": 1}, 10), 10, {"a": 5}, 0)


def test_row_ten_million_is_found_in_microseconds():
    planned = stage({"a": 70, "b": 29, "c": 1}, 20_000_000)
    lengths = {"a": 1_234_567, "b": 99_991, "c": 1}
    rows = range(10_000_000, 10_002_000)
    scattered = [row * 7919 % planned.rows for row in rows]
    # About 20 and 40 on an idle machine; where a loop over rows would take seconds.
    assert _microseconds_per_row(planned, rows, lengths) < 100
    assert _microseconds_per_row(planned, scattered, lengths) < 200


def _microseconds_per_row(planned, rows, lengths):
    best = float("inf")
    for _ in range(5):
        # Time of this process alone, so that a busy machine does not count.
        begin = time.process_time()
        for row in rows:
            locate(planned, row, lengths, 0)
        best = min(best, time.process_time() - begin)
    return best / len(rows) * 1e6
