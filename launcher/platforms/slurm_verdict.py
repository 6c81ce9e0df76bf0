"""What becomes of a job when its controller has ended, and when an allocation's end is near. Pure.

Only a run that yielded is queued again, and only by us while the allocation is still the job's: in a preemption Slurm
queues it itself, and after `scancel` nobody does.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from launcher.core.errors import FAILED, FINISHED, REFUSED, YIELDED

Verdict = Literal["end", "requeue", "left to Slurm", "stopped", "fruitless"]
LAST_S = 20.0
"""Before the allocation's end: the run must have left by then, or Slurm calls it timed out and does not queue it."""
FRUITLESS = 3
"""Allocations in a row that ended by the clock and saved nothing new: more of them would not either."""
LEAST_MARGIN_S = 60.0
LARGEST_SHARE = 0.3
"""Of an allocation, that the margin before its end may take."""


def verdict(code: int, state: str, *, stop_asked: bool, fruitless: int) -> Verdict:
    """Return what to do after the controller's exit code, by the job's state and whether `launcher stop` asked."""
    if code != YIELDED:
        return "end"
    if stop_asked:
        return "stopped"
    if state != "RUNNING":
        return "left to Slurm"
    return "fruitless" if fruitless >= FRUITLESS else "requeue"


def exit_code(step: int, *, ended_by_us: bool, asked: bool) -> int:
    """Return the controller's exit code from its step's, which is another where Slurm or we ended the step by force."""
    # Not its own either: what took Ray away from under it asked for its end as well.
    by_force = step not in (FINISHED, FAILED, REFUSED)
    return YIELDED if ended_by_us or (asked and by_force) else step


def fruitless_allocations(events: Sequence[Mapping[str, Any]], known: int, *, out_of_time: bool) -> int:
    """Return how many times in a row, up to the journal's end, the clock ended a run that had saved nothing new.

    `known` of the events are older than the allocation. One that was `out_of_time` before it had anything to tell is as
    good as all of them: the next would be, too.
    """
    if out_of_time and len(events) == known:
        return FRUITLESS
    count, by_the_clock, committed = 0, False, -1
    for event in events:
        match event["event"]:
            case "checkpoint_committed" if event["step"] > committed:
                count, committed = 0, event["step"]
            case "stop_requested":
                by_the_clock = event["reason"] == "time_limit"
            case "run_ended":
                count, by_the_clock = (count + 1 if by_the_clock else 0), False
            case _:
                pass
    return count


def margin_s(saves_s: Iterable[float], length_s: float | None) -> float:
    """Return how long before an allocation's end to stop by the clock, from how long saves took and how long it is.

    Slurm's own warning comes earlier as a rule; this holds where there is none.
    """
    wanted = max(LEAST_MARGIN_S, 2.0 * max(saves_s, default=0.0) + LAST_S + 15.0)
    return wanted if length_s is None else min(wanted, LARGEST_SHARE * length_s)
