"""Intervals as people write them."""

import pytest

from launcher.core.intervals import Interval, parse_interval, parse_steps


@pytest.mark.parametrize(("text", "interval"), [
    ("200 steps", Interval(steps=200)), ("1 step", Interval(steps=1)), ("2k steps", Interval(steps=2000)),
    ("20min", Interval(seconds=1200)), ("1.5h", Interval(seconds=5400)), ("00:10:00", Interval(seconds=600)),
])  # fmt: skip
def test_steps_and_durations(text, interval):
    assert parse_interval(text) == interval


@pytest.mark.parametrize("text", ["200", "0 steps", "0s", "often", "-3 steps", ""])
def test_what_is_neither_is_refused(text):
    with pytest.raises(ValueError, match=r"\w"):
        parse_interval(text)


def test_where_only_steps_will_do_a_duration_is_refused():
    assert parse_steps("5 steps") == 5
    with pytest.raises(ValueError, match="write it like 200 steps"):
        parse_steps("5min")
