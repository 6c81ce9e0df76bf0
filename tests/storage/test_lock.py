"""One controller per run."""

import subprocess
import sys

import pytest

from launcher.core.errors import UserError
from launcher.storage.lock import Holder, holder_of, refuse_held, release_lock, take_lock
from launcher.storage.process_id import process_id
from launcher.storage.run_dir import RunDir


@pytest.fixture
def other():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield child
    child.kill()
    child.wait()


def test_the_second_is_told_who_has_the_run(tmp_path, other):
    run = RunDir(tmp_path)
    take_lock(run, process_id(other.pid))
    with pytest.raises(UserError, match=f"process {other.pid}"):
        take_lock(run, process_id())


def test_a_dead_holder_holds_nothing(tmp_path, other):
    run = RunDir(tmp_path)
    take_lock(run, process_id(other.pid))
    other.kill()
    other.wait()
    assert holder_of(run) is None
    take_lock(run, process_id())


def test_a_holder_on_another_host_is_believed(tmp_path):
    run = RunDir(tmp_path)
    run.store.put("lock.json", Holder(host="b17", process=process_id()).to_json().encode())
    with pytest.raises(UserError, match="b17"):
        refuse_held(run)


def test_a_released_run_is_free_and_only_its_holder_releases_it(tmp_path, other):
    run = RunDir(tmp_path)
    mine = take_lock(run, process_id(other.pid))
    release_lock(run, Holder(host=mine.host, process=process_id()))
    assert holder_of(run) == mine
    release_lock(run, mine)
    assert holder_of(run) is None
