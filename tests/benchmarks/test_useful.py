"""What of a run's time was useful: steps that survive, those done again, and the bound."""

from random import Random
from typing import Any

import pytest

from benchmarks.goodput import moments, summary
from benchmarks.useful import attempt_at, bound, next_useful, pace, recoveries, stretch


def journal(*lives: tuple[float, int, int, int | None], every: int = 4, stall: float = 0.5) -> list[dict[str, Any]]:
    """Return attempts of one step a second: each begins at a time, does steps from one to another, resumes from one.

    Every few steps it saves, and the step after takes half a second longer.
    """
    events: list[dict[str, Any]] = []
    for attempt, (begin, first, last, resume) in enumerate(lives, 1):
        now = begin
        events.append({"event": "attempt_started", "attempt": attempt, "time": now, "resume": resume})
        for step in range(first, last + 1):
            now += 1.0 + (stall if step > first and (step - 1) % every == 0 else 0.0)
            events.append({"event": "step", "attempt": attempt, "time": now, "step": step})
            if step % every == 0:
                events.append({"event": "checkpoint_committed", "attempt": attempt, "time": now + 0.1, "step": step})
    return events


def test_the_next_useful_step_is_one_that_nobody_had_done():
    events = journal((0.0, 1, 6, None), (20.0, 5, 9, 4))
    useful = next_useful(events, 1)
    assert useful is not None and (useful["step"], useful["attempt"]) == (7, 2)
    assert next_useful(journal((0.0, 1, 6, None), (20.0, 5, 6, 4)), 1) is None


def test_a_step_that_only_a_checkpoint_proves_was_done_all_the_same():
    events = journal((0.0, 1, 6, None), (20.0, 8, 9, 7))
    events.insert(-2, {"event": "step", "attempt": 2, "time": 6.9, "step": 7, "recovered": True})
    useful = next_useful(events, 1)
    assert useful is not None and useful["step"] == 8


def test_the_usual_step_the_stall_and_the_time_between_saves_are_told_apart():
    usual, stall, every = pace(journal((0.0, 1, 17, None)), first=1)
    assert (usual, stall) == (pytest.approx(1.0), pytest.approx(0.5))
    assert every == pytest.approx(4.5)


def test_steps_done_again_are_not_useful_and_recovery_ends_where_the_first_of_them_begins():
    events = journal((0.0, 1, 10, None), (20.0, 9, 14, 8), stall=0.0)
    found = stretch(events, [10.4], first=1, end=26.0)
    assert found.wall == 25.0  # from the end of step 1
    assert (found.steps, found.useful, found.redone) == (13, 13.0, 2.0)
    assert found.recoveries == (pytest.approx(20.0 - 10.4),)
    assert found.wall == pytest.approx(found.useful + found.redone + found.down + 0.4)  # and a step that was killed
    assert (found.before, found.useful_before) == (pytest.approx(9.4), 9.0)


def test_what_comes_after_the_end_is_not_counted():
    events = journal((0.0, 1, 10, None), (20.0, 9, 14, 8), stall=0.0)
    assert stretch(events, [10.4], first=1, end=23.0).steps == 10  # up to step 11


def test_a_kill_during_recovery_does_not_count_the_time_twice():
    events = journal((0.0, 1, 6, None), (9.0, 5, 4, 4), (20.0, 5, 9, 4))
    assert recoveries(events, [7.0, 12.0], usual=1.0) == (5.0, 8.0)
    assert [attempt_at(events, moment) for moment in (7.0, 12.0)] == [1, 2]


def test_the_bound_is_what_saves_redone_steps_and_recoveries_leave():
    # Of 120 s between kills: 40 saves of 0.1 s, half of 3 s redone, 4.5 s until it goes on.
    assert bound(0.1, 3.0, 120.0, 4.5) == pytest.approx(1 - (40 * 0.1 + 1.5 + 4.5) / 120)


def test_one_kill_falls_into_each_period():
    found = moments(120.0, 3, Random(7))
    assert [int(moment // 120.0) for moment in found] == [0, 1, 2]
    assert found == moments(120.0, 3, Random(7)) != moments(120.0, 3, Random(8))


def test_runs_add_up_by_their_time_and_not_run_by_run():
    short = {"wall": 10.0, "useful": 5.0, "redone": 1.0, "down": 4.0, "before": 2.0, "useful_before": 1.0,
             "usual": 0.1, "stall": 0.0, "every": 2.0, "kills": [3.0]}
    long = {**short, "wall": 90.0, "useful": 85.0, "before": 18.0, "useful_before": 18.0}
    told = summary([short, long])
    assert (told["goodput"], told["between_kills_s"], told["recovery_s"]) == (0.9, 50.0, 4.0)
    assert told["bound"] == pytest.approx(1 - 2.0 / 100 - 4.0 / 50)
    assert told["goodput until the first kill"] == 0.95
