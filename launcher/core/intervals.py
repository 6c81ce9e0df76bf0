"""Intervals as people write them in `every:` fields: a duration (20min) or a number of steps (200 steps)."""

import re
from dataclasses import dataclass

from launcher.core.quantities import parse_count, parse_seconds


@dataclass(frozen=True, slots=True)
class Interval:
    """Exactly one of steps and seconds."""

    steps: int | None = None
    seconds: float | None = None


def parse_interval(text: str) -> Interval:
    """Return the interval that a text means. Raises ValueError with an example."""
    if match := re.fullmatch(r"\s*(.+?)\s*steps?\s*", text):
        steps = parse_count(match[1])
        if steps < 1:
            raise ValueError("an interval is at least 1 step")
        return Interval(steps=steps)
    if re.fullmatch(r"\s*\d+\s*", text):
        raise ValueError(f"{text.strip()!r} needs a unit: write {text.strip()} steps, or a duration such as 20min")
    seconds = parse_seconds(text)
    if seconds <= 0:
        raise ValueError("an interval is longer than 0 s")
    return Interval(seconds=seconds)


def parse_steps(text: str) -> int:
    """Return the number of steps that a text means. Raises ValueError for a duration: clocks differ between runs."""
    try:
        steps = parse_interval(text).steps
    except ValueError:
        steps = None
    if steps is None:
        raise ValueError(f"{text!r} is not a number of steps; write it like 200 steps")
    return steps
