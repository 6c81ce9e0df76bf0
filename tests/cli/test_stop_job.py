"""`launcher stop` of a run that has a job: none of its jobs starts later."""

import threading
import time

import pytest

from launcher.cli.queue import sight
from launcher.core.errors import PlatformError
from launcher.storage.jobs import job_record, record_began
from launcher.storage.lock import take_lease
from launcher.storage.stop_file import stops_asked
from tests.cli.queue_desk import sit_down, stop_it
from tests.orchestration.test_worker_process import awaited

DENIED = """#!/bin/sh
echo 'scancel: error: Kill job error on job id 42: Access/permission denied' >&2; exit 1
"""


@pytest.fixture
def desk(tmp_path, monkeypatch):
    return sit_down(tmp_path, monkeypatch)


@pytest.mark.parametrize("began", [0, 1])
def test_stopping_a_run_whose_job_waits_cancels_it(desk, capsys, began):
    if began:
        record_began(desk.run, "42", time.time(), allocations=began)
    desk.queue("PENDING", "Priority")
    stop_it()
    printed = capsys.readouterr().out
    assert desk.cancelled() == "42\n" and "job 42 is cancelled" in printed
    assert "was stopped before it began" in printed


def test_stopping_a_run_whose_job_brings_up_ray_cancels_it(desk, capsys):
    desk.queue("RUNNING", nodes="node1")
    stop_it()
    assert desk.cancelled() == "42\n" and "the run has not begun there" in capsys.readouterr().out


def test_a_job_that_may_not_be_cancelled_is_told(desk):
    desk.queue("PENDING", "Priority")
    desk.command("scancel", DENIED)
    with pytest.raises(PlatformError, match=r"may still start.*permission denied"):
        stop_it()


def test_somebody_elses_job_of_the_same_number_is_left_alone(desk, capsys):
    record_began(desk.run, "42", time.time(), allocations=1, folder="/home/me/then")
    desk.queue("RUNNING", nodes="node1")
    stop_it()
    assert desk.cancelled() == "" and "nobody works on this run" in capsys.readouterr().out
    assert sight(desk.run).job is None


def test_a_run_that_is_asked_to_stop_tells_its_job_that_it_is_for_good(desk, capsys):
    desk.queue("RUNNING", nodes="node1")
    lease = take_lease(desk.run)
    stop_it(wait=False)
    lease.release()
    record = job_record(desk.run, "42")
    assert record is not None and record.stopped and desk.cancelled() == ""


def test_a_job_that_slurm_queues_again_while_its_run_stops_is_cancelled(desk, capsys):
    desk.queue("RUNNING", nodes="node1")
    lease = take_lease(desk.run)

    def obey() -> None:
        awaited(lambda: stops_asked(desk.run, lease.token))
        lease.release()
        desk.queue("PENDING", "BeginTime")

    obeying = threading.Thread(target=obey)
    obeying.start()
    stop_it()
    obeying.join()
    assert desk.cancelled() == "42\n" and "job 42 is cancelled" in capsys.readouterr().out
