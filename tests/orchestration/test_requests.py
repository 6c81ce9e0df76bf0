"""All that is asked of a controller becomes one request, whichever way it came."""

import os
import signal
import threading

import pytest

from launcher.core.events import StopRequested
from launcher.orchestration import requests as module
from launcher.orchestration.requests import Requests, Stop
from launcher.storage.lock import take_lease
from launcher.storage.run_dir import RunDir
from launcher.storage.stop_file import StopFile, ask_stop
from tests.orchestration.test_worker_process import awaited


@pytest.fixture
def run(tmp_path):
    return RunDir(tmp_path / "run")


@pytest.fixture
def requests(monkeypatch):
    monkeypatch.setattr(module, "WATCH_S", 0.02)
    return Requests()


def stop(deadline: float | None = None, **more) -> StopFile:
    return StopFile(request=StopRequested(reason="stop_command", deadline=deadline), **more)


def test_a_request_in_the_run_directory_is_found_and_one_for_an_earlier_holder_is_not(run, requests):
    ask_stop(run, 0, stop())
    lease = take_lease(run)
    requests.watch_run(run, lease.token)
    assert requests.stop is None
    ask_stop(run, lease.token, stop(deadline=50.0))
    awaited(lambda: requests.stop is not None)
    assert requests.stop == StopRequested(reason="stop_command", deadline=50.0) and not requests.at_once


def test_a_request_that_came_before_the_controller_began_to_look_is_there_at_once(run, requests):
    lease = take_lease(run)
    ask_stop(run, lease.token, stop())
    requests.watch_run(run, lease.token)
    assert requests.stop is not None


def test_every_notice_becomes_one_request_with_the_earliest_deadline(run, requests):
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as lines:
        requests.listen(os.fdopen(reading))
        requests.watch_run(run, 0)
        lines.write(Stop(request=StopRequested(reason="preemption", deadline=90.0)).model_dump_json() + "\n")
        lines.flush()
        awaited(lambda: requests.stop is not None)
        ask_stop(run, 0, stop(deadline=60.0))
        awaited(lambda: requests.stop.deadline == 60.0)
        requests._on_signal(signal.SIGTERM, None)
        assert requests.stop == StopRequested(reason="preemption", deadline=60.0)


def test_waiting_for_a_while_ends_with_a_stop_and_with_the_while(requests):
    assert not requests.wait_stop(0.01)
    threading.Timer(0.02, lambda: requests.ask_stop("signal")).start()
    assert requests.wait_stop(30.0)


def test_a_signal_while_waiting_for_the_word_to_go_ends_the_wait(requests):
    requests.take_signals()
    try:
        threading.Timer(0.02, lambda: os.kill(os.getpid(), signal.SIGTERM)).start()
        assert requests.wait_go() is None
    finally:
        for number in module.SIGNALS:
            signal.signal(number, signal.SIG_DFL if number != signal.SIGINT else signal.default_int_handler)


def test_asked_again_it_stops_at_once(run, requests):
    requests.watch_run(run, 0)
    ask_stop(run, 0, stop())
    ask_stop(run, 0, stop(at_once=True))
    awaited(lambda: requests.at_once)


def test_a_file_that_is_no_request_ends_nothing(run, requests):
    requests.watch_run(run, 0)
    run.store.put("stops/000000-x.json", b"please")
    run.store.put("stops/notes.txt", b"please")
    with pytest.raises(AssertionError):
        awaited(lambda: requests.stop is not None, 0.2)
    run.store.delete("stops/000000-x.json")
    ask_stop(run, 0, stop())
    awaited(lambda: requests.stop is not None)


def test_a_controller_whose_run_was_taken_over_leaves_at_once(run, requests):
    lease = take_lease(run)
    requests.watch_run(run, lease.token)
    lease.release()
    take_lease(run)
    awaited(lambda: requests.at_once)
    assert requests.fenced and requests.stop.reason == "orphaned"
