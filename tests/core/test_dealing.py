"""Every row goes to exactly one rank, and all ranks compute equally many micro-batches."""

from hypothesis import given
from hypothesis import strategies as st

from launcher.core.dealing import deal, micro_batches, zero_weight_share


@given(st.integers(0, 200), st.integers(1, 9), st.integers(1, 9))
def test_every_row_once_and_equal_counts(rows: int, ranks: int, micro: int) -> None:
    dealt = deal(range(rows), ranks, micro)
    assert [row for rank in dealt for batch in rank for row in batch] == list(range(rows))
    assert {len(rank) for rank in dealt} == {micro_batches(rows, ranks, micro)}
    assert all(len(batch) <= micro for rank in dealt for batch in rank)


@given(st.integers(1, 200), st.integers(1, 9), st.integers(1, 9))
def test_no_rank_has_two_rows_more_than_another(rows: int, ranks: int, micro: int) -> None:
    loads = [sum(len(batch) for batch in rank) for rank in deal(range(rows), ranks, micro)]
    assert max(loads) - min(loads) <= 1


def test_a_world_that_divides_the_batch_wastes_nothing() -> None:
    assert zero_weight_share(8, 2, 2) == 0
    assert zero_weight_share(8, 3, 1) == 1 / 9
