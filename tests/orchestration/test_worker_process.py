"""Workers as processes: what they inherit, how their end is known, and that ending leaves nothing."""

import os
import signal
import time
from pathlib import Path

import pytest

from launcher.orchestration.worker_process import WorkerProcess, end_workers, worker_environment


def awaited(condition, timeout_s=10.0):
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
    return found


@pytest.fixture
def standby(tmp_path: Path):
    worker = WorkerProcess.spawn(tmp_path / "w", worker_environment(0, 1, "cpu"))
    yield worker
    end_workers([worker], 0.0)
    worker.let_go()


def ready(worker: WorkerProcess) -> bool:
    return any(event["event"] == "ready" for event in worker.mailbox.take_events())


def test_a_worker_knows_its_slot_and_sees_no_gpu_on_cpu():
    environment = worker_environment(3, 2, "cpu")
    assert environment["LOCAL_RANK"] == "3"
    assert environment["OMP_NUM_THREADS"] == "2"
    assert environment["CUDA_VISIBLE_DEVICES"] == ""


def test_what_a_surrounding_job_left_in_the_environment_does_not_reach_a_worker(monkeypatch):
    monkeypatch.setenv("MASTER_PORT", "1")
    monkeypatch.setenv("WORLD_SIZE", "64")
    assert not {"MASTER_PORT", "WORLD_SIZE"} & set(worker_environment(0, 1, "cpu"))


def test_a_standby_lives_in_a_session_of_its_own_and_leaves_when_let_go(standby):
    awaited(lambda: ready(standby))
    assert os.getsid(standby.process.pid) == standby.process.pid
    assert standby.exit_code() is None
    standby.let_go()
    assert standby.wait_gone(10.0)
    assert standby.exit_code() == 0


def test_blocked_signals_are_not_inherited(tmp_path):
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        worker = WorkerProcess.spawn(tmp_path / "w", worker_environment(0, 1, "cpu"))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    status = Path(f"/proc/{worker.process.pid}/status").read_text()
    blocked = next(line.split()[1] for line in status.splitlines() if line.startswith("SigBlk"))
    end_workers([worker], 0.0)
    assert int(blocked, 16) & (1 << (signal.SIGINT - 1)) == 0


def test_an_adopter_keeps_a_worker_alive_and_learns_how_it_ended(standby):
    awaited(lambda: ready(standby))
    adopted = WorkerProcess.adopt(standby.mailbox.folder)
    standby.let_go()
    time.sleep(0.1)  # long enough for several of the worker's looks at its lifeline
    assert adopted.exit_code() is None
    os.kill(adopted.process.pid, signal.SIGKILL)
    assert awaited(adopted.exit_code) == -signal.SIGKILL
    adopted.let_go()


def test_a_worker_that_ignores_sigterm_is_killed_after_the_grace(tmp_path):
    worker = WorkerProcess.spawn(tmp_path / "w", worker_environment(0, 1, "cpu") | {"LAUNCHER_FAKE": "deaf"})
    awaited(lambda: ready(worker))
    assert end_workers([worker], 0.05)
    assert worker.exit_code() == -signal.SIGKILL
