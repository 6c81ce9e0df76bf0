"""Notices of an allocation's end, and for whom they are meant."""

import os
import signal

import pytest

from launcher.platforms import slurm_notices
from launcher.platforms.slurm_notices import Messenger, Notices
from launcher.storage.lock import take_lease
from launcher.storage.run_dir import RunDir
from launcher.storage.stop_file import stops_asked

NOW = 1000.0


@pytest.fixture
def notices():
    before = {number: signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGTERM)}
    made = Notices(lambda: NOW)
    made.take_signals()
    yield made
    for number, handler in before.items():
        signal.signal(number, handler)


def test_slurms_warning_becomes_a_request_with_the_deadline_of_the_clock(notices):
    notices.end, notices.margin_s = NOW + 300.0, 60.0
    assert notices.request() is None
    os.kill(os.getpid(), signal.SIGUSR1)
    request = notices.request()
    assert (request.reason, request.deadline) == ("time_limit", NOW + 280.0)


def test_where_slurm_does_not_warn_the_clock_does(notices):
    notices.end, notices.margin_s = NOW + 59.0, 60.0
    assert notices.request().reason == "time_limit" and not notices.over()


def test_a_preemption_is_a_request_without_a_deadline(notices):
    os.kill(os.getpid(), signal.SIGTERM)
    assert (notices.request().reason, notices.request().deadline) == ("signal", None)
    assert notices.ended and not notices.over()


def test_in_the_last_seconds_whatever_still_works_is_ended(notices):
    notices.end = NOW + 5.0
    assert notices.over()


def test_the_controller_is_asked_once_it_holds_the_run_and_only_once(tmp_path, notices):
    os.kill(os.getpid(), signal.SIGUSR1)
    run, request = RunDir(tmp_path), notices.request()
    messenger = Messenger(run, started=0.0)
    assert not messenger.tell(request)
    lease = take_lease(run)
    assert messenger.tell(request) and messenger.tell(request)
    assert [asked.request.reason for asked in stops_asked(run, lease.token)] == ["time_limit"]
    lease.release()


def test_once_it_was_asked_nobody_looks_again_who_holds_the_run(tmp_path, notices, monkeypatch):
    os.kill(os.getpid(), signal.SIGUSR1)
    run = RunDir(tmp_path)
    messenger, lease = Messenger(run, started=0.0), take_lease(run)
    assert messenger.tell(notices.request())
    monkeypatch.setattr(slurm_notices, "holder_of", None)
    assert messenger.tell(notices.request())
    lease.release()


def test_who_held_the_run_before_this_job_did_is_not_asked(tmp_path, notices):
    os.kill(os.getpid(), signal.SIGUSR1)
    run = RunDir(tmp_path)
    lease = take_lease(run)
    assert not Messenger(run, started=2.0e10).tell(notices.request())
    assert stops_asked(run, lease.token) == []
    lease.release()
