"""A process is known by its pid and its start, whatever the clock does."""

import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from launcher.storage.process_id import ProcessId, process_id


@pytest.fixture
def child() -> Iterator[ProcessId]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process_id(process.pid)
    process.kill()
    process.wait()


def test_a_process_that_has_the_pid_of_another_is_not_it(child: ProcessId):
    another_life = ProcessId(pid=child.pid, started=child.started - 0.01)
    assert not another_life.alive()
    assert another_life.state() == ""
    assert not another_life.kill()
    assert child.alive()


def test_a_clock_that_is_set_does_not_make_a_process_another(child: ProcessId, monkeypatch: pytest.MonkeyPatch):
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3600.0)
    assert process_id(child.pid) == child
    assert child.alive()


def test_it_is_still_the_same_after_it_was_written_down(child: ProcessId):
    assert ProcessId.from_json(child.to_json().encode()) == child
    assert abs(child.began() - time.time()) < 5.0


def test_one_that_was_killed_is_gone_before_its_parent_looks(child: ProcessId):
    assert child.kill()
    while child.state() not in "Z":
        time.sleep(0.01)
    assert not child.alive()
