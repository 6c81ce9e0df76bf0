"""A request to stop reaches the holder that it is meant for, and no other."""

import pytest

from launcher.core.events import StopRequested
from launcher.storage.lock import take_lease
from launcher.storage.run_dir import RunDir
from launcher.storage.stop_file import StopFile, ask_stop, clear_stops, stops_asked


@pytest.fixture
def run(tmp_path):
    return RunDir(tmp_path)


def stop(time: float, deadline: float | None = None) -> StopFile:
    return StopFile(request=StopRequested(reason="stop_command", deadline=deadline), time=time)


def test_requests_are_kept_beside_each_other_and_read_in_order(run):
    assert stops_asked(run, 1) == []
    ask_stop(run, 1, stop(2.0, deadline=9.0))
    ask_stop(run, 1, stop(1.0))
    assert [asked.time for asked in stops_asked(run, 1)] == [1.0, 2.0]


def test_a_request_to_an_earlier_holder_does_not_stop_a_later_one(run):
    first = take_lease(run)
    ask_stop(run, first.token, stop(1e12))
    first.release()
    second = take_lease(run)
    assert stops_asked(run, second.token) == []


def test_a_request_that_came_before_the_controller_looked_is_not_lost(run):
    lease = take_lease(run)
    ask_stop(run, lease.token, stop(1.0))
    clear_stops(run, lease.token)
    assert len(stops_asked(run, lease.token)) == 1


def test_what_earlier_holders_were_asked_is_cleared_away(run):
    for token in (1, 2, 3):
        ask_stop(run, token, stop(1.0))
    clear_stops(run, 3)
    assert [len(stops_asked(run, token)) for token in (1, 2, 3)] == [0, 0, 1]
