"""Every second of a run is accounted for, whatever its journal tells."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.made_journals import EVERYTHING, journal
from launcher.core.account import PARTS, account
from launcher.core.ledger import surviving
from launcher.report.fold import RunFold
from tests.report.journals import (
    CRASHED,
    FINISHED,
    RECOVERED,
    again,
    committed,
    decision,
    ended,
    failure,
    over,
    started,
    step,
)

RECORDED = [json.loads(line) for line in
            (Path(__file__).parent / "journals" / "nine_attempts.jsonl").read_text().splitlines()]
"""A run of the quickstart on six machines of one, hurt eight times: kills, stops, lost and drained nodes."""


def parts(events, now=None):
    return {name: pytest.approx(seconds) for name, seconds in account(events, now).parts.items() if seconds > 1e-9}


def test_a_run_that_was_hurt_eight_times():
    found = account(RECORDED)
    assert found.wall == pytest.approx(RECORDED[-1]["time"] - RECORDED[0]["time"])
    assert sum(found.parts.values()) == pytest.approx(found.wall, rel=1e-9)
    assert found.parts["other"] < 0.01 * found.wall, "what no event explains"
    counted = surviving(RECORDED)
    assert found.parts["useful"] == pytest.approx(sum(event["seconds"] for event in counted), rel=0.01)
    assert found.parts["redone"] == pytest.approx(sum(event["seconds"] for event in RECORDED if event["event"] == "step"
                                                      and event not in counted), rel=0.01)
    # Two hangs of 9 s, two nodes that were lost for half a minute, and the ways to the next attempts.
    assert 80.0 < found.parts["restarts"] < 120.0
    assert found.attempts.keys() == set(range(1, 10))
    assert found.goodput == pytest.approx(RunFold([{**event, "name": "x", "steps": 180, "workers": []}
                                                   for event in RECORDED]).goodput(), abs=0.01)


def test_a_finished_run():
    # 100 to 106: a second to the base's evaluation, which does not say how long it took, then steps of half a second.
    assert parts(FINISHED) == {"useful": 2.0, "start_up": 1.0, "exporting": 0.5, "other": 2.5}


def test_steps_that_are_lost_until_they_are_done_again():
    # Before the next attempt tells from where it goes on nothing is lost yet.
    assert account(CRASHED).parts["redone"] == 0.0
    found = account(RECOVERED).parts
    assert (found["useful"], found["redone"]) == (1.5, 1.0)  # the first ended when the journal begins
    assert found["restarts"] == pytest.approx(5.0)  # from 4.0, the last step, to 9.0, the next attempt's workers
    assert found["start_up"] == pytest.approx(1.5)  # from 9.0 to the beginning of the step that ended at 11.0


def test_time_in_which_nobody_worked_is_of_the_queue():
    before = [*started(1, 1.0), step(1, 2.0), *ended("yielded", 75, 2.0)]
    phases = {"loading": (8.0, 10.0)}
    startup = {"event": "startup_phases", "began": 95.0, "phases": phases, "time": 120.0, "attempt": 2}
    found = account([*before, again(2, 100.0, None), step(1, 110.0, 2), startup])
    assert found.parts["queue"] == pytest.approx(93.0)
    assert (found.parts["start_up"], found.parts["loading"]) == pytest.approx((0.5 + 5.0 + 7.5, 2.0))
    assert found.worked == pytest.approx(found.wall - 93.0)


def test_another_command_is_known_by_its_token_where_the_first_one_died():
    begun = [{**event, "token": 1} for event in started(1, 1.0)]
    later = [*begun, step(1, 2.0), over("failed", 3.0)]
    assert account([*later, again(2, 10.0, None, token=1), step(1, 11.0, 2)]).parts["queue"] == 0.0
    assert account([*later, again(2, 10.0, None, token=2), step(1, 11.0, 2)]).parts["queue"] == pytest.approx(7.0)


def test_controllers_that_die_before_they_have_workers_are_replaced_by_the_same_command():
    def lost(attempt, time):
        return {"event": "failure", "kind": "controller_loss", "rank": None, "node": None, "step": None, "time": time,
                "message": "the controller ended by SIGKILL", "attempt": attempt}

    first = [*started(1, 1.0)[:1], {**started(1, 1.0)[1], "token": 1}]
    dying = [*first, step(1, 2.0), lost(2, 10.0), decision("restart", 10.0, 2), lost(3, 24.0),
             decision("restart", 24.0, 3)]
    events = [*dying, again(4, 26.0, None, token=1), step(1, 28.0, 4)]
    assert account(events).parts["queue"] == 0.0 and RunFold(events).away_seconds == 0.0
    another = [*dying, *ended("failed", 1, 25.0, 3), {**lost(4, 60.0)}]
    assert account(another).parts["queue"] == 35.0 == RunFold(another).away_seconds


def test_the_way_to_another_engine_or_plan_is_a_change_and_no_restart():
    events = [*started(1, 1.0), step(1, 2.0), committed(1, 2.5), over("yielded", 4.0), again(2, 6.0, 1),
              step(2, 9.0, 2)]
    found = account(events).parts
    assert (found["changes"], found["saving"]) == pytest.approx((3.5, 0.5))
    assert found["restarts"] == found["ending"] == 0.0
    assert found["start_up"] == pytest.approx(2.5 + 0.5) and sum(found.values()) == pytest.approx(8.0)
    grown = [*events[:3], decision("grow", 2.6), *events[3:]]
    assert account(grown).parts["changes"] == 0.0 and account(grown).parts["restarts"] > 0.0


def test_the_parts_of_a_run_with_everything_are_its_wall_time_and_its_time_line_s():
    events = journal(EVERYTHING)
    found, fold = account(events), RunFold(events)
    assert sum(found.parts.values()) == pytest.approx(found.wall) and found.parts["other"] < 0.01 * found.wall
    # The time line tells from an attempt's last step to the next one's first: start-up and loading are in it, and what
    # the next attempt's first step itself took.
    without = sum(change.took() or 0.0 for change in fold.restarts.planned())
    assert 0.0 < found.parts["changes"] < without < found.parts["changes"] + found.parts["start_up"] + \
        found.parts["loading"]
    assert found.worked == pytest.approx(fold.wall_seconds())
    assert found.goodput == pytest.approx(fold.goodput(), abs=0.01)


def test_workers_that_stop_wait_for_what_they_save():
    stopped = [*started(1, 1.0), step(1, 2.0), committed(1, 4.0), over("yielded", 4.5), *ended("yielded", 75, 4.6)]
    found = account(stopped).parts
    assert (found["saving"], found["ending"]) == pytest.approx((2.0, 0.6))


def test_what_a_checkpoint_proves_happened_when_it_says():
    hurt = [*started(1, 1.0), step(1, 2.0), failure(1, "gone", 9.0), decision("restart", 9.0), over("failed", 9.0),
            {**step(2, 3.0, 2), "recovered": True}, again(2, 10.0, 2), step(3, 12.0, 2)]
    found = account(hurt).parts
    assert found["useful"] == pytest.approx(1.5)
    assert found["restarts"] == pytest.approx(7.0)  # from 3.0, the step that was told late, to 10.0


def test_a_controller_that_was_taken_for_dead_is_not_heard():
    late = step(2, 50.0, 1)
    assert account([*RECOVERED, late]) == account(RECOVERED)


def test_a_run_at_work_is_accounted_for_until_now():
    assert account(started(1, 1.0), now=5.0).parts["start_up"] == pytest.approx(4.0)
    assert account(CRASHED, now=60.0).parts["restarts"] == pytest.approx(56.0)
    assert account([*started(1, 1.0), *ended("failed", 1, 2.0)], now=60.0).wall == pytest.approx(1.0)


def test_a_journal_that_is_empty():
    assert account([]).wall == 0.0 and account([]).goodput is None


@given(st.lists(st.sampled_from(RECORDED), max_size=60), st.booleans())
def test_whatever_a_journal_tells_the_parts_are_the_wall_time(events, in_order):
    told = sorted(events, key=lambda event: event["attempt"]) if in_order else events
    found = account(told)
    assert sum(found.parts.values()) == pytest.approx(found.wall)
    assert all(seconds >= 0.0 for seconds in found.parts.values())
    assert list(found.parts) == list(PARTS)
