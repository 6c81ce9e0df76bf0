"""A rank is named when it is slower than the others by itself, for long enough, and by enough to matter."""

from math import nan
from typing import Any

import pytest

from launcher.core.straggler import IN_A_ROW, WINDOW_S, WINDOW_STEPS, Change, Windows, pace


@pytest.mark.parametrize(("times", "median", "slow"), [
    # Deviations 0.02 0.01 0 0.02 0.5: the middle one is 0.02, and 4 of them are less than 15 % of the median.
    ([0.98, 0.99, 1.0, 1.02, 1.5], 1.0, {4}),
    # The middle deviation is 0.1, and 1.39 is within 4 of them, 1.41 is not.
    ([0.9, 1.0, 1.0, 1.1, 1.39], 1.0, set()),
    ([0.9, 1.0, 0.9, 1.1, 1.41], 1.0, {4}),
    # All the same but one, which is 14 % slower, or 16 %: with no deviation at all the margin decides.
    ([2.0, 2.0, 2.0, 2.28], 2.0, set()),
    ([2.0, 2.0, 2.32, 2.0], 2.0, {2}),
    # Of two ranks the faster one is the measure; of four, half on a slow machine, the other half.
    ([1.0, 1.2], 1.0, {1}),
    ([1.6, 1.0, 1.6, 1.0], 1.0, {0, 2}),
    # Faster than the others is no fault, and who has no rows is not compared.
    ([0.2, 1.0, 1.0, None], 1.0, set()),
])
def test_a_rank_is_slow_beyond_four_deviations_and_a_margin(times: list[float | None], median: float,
                                                           slow: set[int]) -> None:
    found = pace(times)
    assert found is not None and found.median == median and found.slow == slow
    assert found.scores == tuple(time if time is None else time / median for time in times)


@pytest.mark.parametrize("times", [[1.0], [1.0, None], [None, None], [0.0, 0.0], []])
def test_nothing_is_said_where_there_is_nothing_to_compare(times: list[float | None]) -> None:
    assert pace(times) is None


def window(windows: Windows, *times: float) -> Any:
    """Take a window of equal steps, and return what is judged, which is said once."""
    judged = [windows.add(times, WINDOW_S / WINDOW_STEPS) for _ in range(WINDOW_STEPS)]
    assert judged[:-1] == [None] * (WINDOW_STEPS - 1)
    return judged[-1]


def test_a_rank_is_named_after_windows_in_a_row_and_cleared_after_as_many() -> None:
    windows = Windows(3)
    assert [window(windows, 1.0, 2.0, 1.0).changes for _ in range(IN_A_ROW - 1)] == [()] * (IN_A_ROW - 1)
    assert window(windows, 1.0, 1.0, 1.0).changes == (), "it caught up, so it begins again"
    changes = [window(windows, 1.0, 2.0, 1.0).changes for _ in range(IN_A_ROW)]
    assert changes == [()] * (IN_A_ROW - 1) + [(Change(1, slow=True, score=2.0),)]
    assert window(windows, 1.0, 2.0, 1.0).changes == (), "named once"
    changes = [window(windows, 1.0, 1.0, 1.0).changes for _ in range(IN_A_ROW)]
    assert changes == [()] * (IN_A_ROW - 1) + [(Change(1, slow=False, score=1.0),)]


def test_a_step_that_was_left_out_does_not_count_and_one_pause_names_nobody() -> None:
    windows = Windows(2)
    assert windows.add([nan, nan], 100.0) is None
    steps = [[1.0, 1.0]] * (WINDOW_STEPS - 1) + [[1.0, 60.0]]
    judged = [windows.add(times, 1.0) for times in steps][-1]
    assert judged is not None and judged.pace.slow == {1} and judged.changes == ()
    assert judged.steps == WINDOW_STEPS and judged.pace.scores[1] == pytest.approx((WINDOW_STEPS - 1 + 60) / 20)


def test_short_steps_make_a_window_of_seconds_and_a_rank_without_rows_is_left_out() -> None:
    windows, steps = Windows(3), 0
    while (judged := windows.add([0.01, 0.01, nan], 0.01)) is None:
        steps += 1
    assert judged.steps == steps + 1 == pytest.approx(WINDOW_S / 0.01, abs=1) and judged.pace.scores == (1.0, 1.0, None)
