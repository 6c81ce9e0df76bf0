"""What a heartbeat tells of a process: how old it is, why it is silent, and where its threads are."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from launcher.orchestration import worker_process
from launcher.orchestration.worker_process import WorkerProcess
from launcher.storage.mailbox import Mailbox
from launcher.storage.process_id import process_id
from tests.orchestration.test_worker_process import awaited


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    """One process for all of these tests, which run in order: it starts in a second and is held by the last."""
    mailbox = Mailbox(tmp_path_factory.mktemp("worker") / "w").create()
    child = subprocess.Popen([sys.executable, "-m", "tests.orchestration.beating_worker", str(mailbox.folder)],
                             cwd=Path(__file__).parents[2])
    mailbox.deliver("process", process_id(child.pid))
    adopted = WorkerProcess.adopt(mailbox.folder)
    yield adopted
    adopted.let_go()
    child.kill()
    child.wait()


@pytest.fixture
def beating(worker, monkeypatch):
    monkeypatch.setattr(worker_process, "SILENT_S", 0.6)
    worker.mailbox.deliver("begin", {})
    awaited(lambda: (pulse := worker.pulse()) and pulse.phase == "forward")
    yield worker
    os.kill(worker.process.pid, signal.SIGCONT)


def older_than(worker: WorkerProcess, seconds: float):
    return lambda: (pulse := worker.pulse()) and pulse.age_s > seconds and pulse


def test_a_process_without_a_heartbeat_is_not_asked_for_stacks(worker):
    assert worker.pulse() is None
    assert not worker.dump_stacks()
    assert worker.process.alive()


def test_a_stopped_process_grows_silent_and_says_so_until_it_goes_on(beating):
    pulse = beating.pulse()
    assert (pulse.step, pulse.process) == (7, "")
    os.kill(beating.process.pid, signal.SIGSTOP)
    assert awaited(older_than(beating, 0.7)).process == "T"
    os.kill(beating.process.pid, signal.SIGCONT)
    assert awaited(lambda: beating.pulse().age_s < 0.1)


def test_time_in_which_nobody_looked_makes_nobody_old(beating, monkeypatch):
    os.kill(beating.process.pid, signal.SIGSTOP)
    awaited(older_than(beating, 0.1))
    monkeypatch.setattr(worker_process, "GAP_S", 0.02)
    time.sleep(0.03)
    assert beating.pulse().age_s == 0.0


def test_a_heartbeat_is_read_once(beating, monkeypatch):
    os.kill(beating.process.pid, signal.SIGSTOP)
    awaited(older_than(beating, 0.05))
    monkeypatch.setattr(Mailbox, "look", lambda *_: pytest.fail("read again without need"))
    assert beating.pulse().step == 7


def test_a_process_whose_interpreter_is_held_grows_silent_and_still_writes_its_stacks(beating):
    beating.mailbox.deliver("hold", {})
    assert awaited(older_than(beating, 0.7)).process == "S"
    assert beating.dump_stacks()
    stacks = awaited(lambda: (text := beating.mailbox.stacks.read_text()).endswith("\n") and "main" in text and text)
    assert "in hold_the_interpreter" in stacks
    assert "_beat_for_ever" in stacks


def test_a_crash_in_c_leaves_its_stacks(worker):
    os.kill(worker.process.pid, signal.SIGSEGV)
    awaited(lambda: "in hold_the_interpreter" in worker.mailbox.stacks.read_text().partition("Segmentation fault")[2])
