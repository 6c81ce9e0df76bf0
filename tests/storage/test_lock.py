"""One run, one controller: whoever dies, wherever, one holds the run and the next is told what it must know."""

import subprocess
import sys
import threading
import time

import pytest

from launcher.core.errors import UserError
from launcher.storage import lease as leases
from launcher.storage import lock
from launcher.storage.lease import Claim, Queue, claim_of
from launcher.storage.lock import HolderWatch, holder_of, living_holders, refuse_held, take_lease, token_of
from launcher.storage.process_id import process_id
from launcher.storage.run_dir import RunDir


@pytest.fixture
def run(tmp_path):
    return RunDir(tmp_path / "runs/tiny")


@pytest.fixture
def process():
    started = []

    def start():
        started.append(subprocess.Popen(["sleep", "60"]))
        return started[-1]

    yield start
    for child in started:
        child.kill()
        child.wait()


def end(child: subprocess.Popen) -> None:
    child.kill()
    child.wait()


def elsewhere(run: RunDir, number: int = 1, **changes) -> Claim:
    """Somebody on another host holds the run."""
    claim = claim_of(process_id()).model_copy(update={"host": "b17", "machine": "another", **changes})
    run.store.put(f"{lock.PREFIX}{number:06d}.json", claim.to_json().encode())
    return claim


def test_the_second_is_told_who_has_the_run_and_how_to_stop_it(run, process):
    child = process()
    lease = take_lease(run, process_id(child.pid))
    for refused in (take_lease, refuse_held):
        with pytest.raises(UserError, match=rf"by process {child.pid} on \S+ since 20.*launcher stop"):
            refused(run)
    lease.release()
    assert holder_of(run) is None
    refuse_held(run)


def test_each_holder_has_a_higher_token(run):
    assert token_of(run) == 0
    tokens = []
    for _ in range(3):
        lease = take_lease(run)
        tokens.append(lease.token)
        lease.release()
    assert tokens == [1, 2, 3] and token_of(run) == 3


def test_a_run_is_held_as_long_as_one_of_its_processes_lives(run, process, monkeypatch):
    monkeypatch.setattr(lock, "ORPHAN_S", 0.1)
    command, controller = process(), process()
    take_lease(run, process_id(command.pid), process_id(controller.pid))
    end(command)
    with pytest.raises(UserError, match="being worked on by"):
        take_lease(run)
    end(controller)
    assert holder_of(run) is None
    told = []
    assert take_lease(run, tell=told.append).token == 2
    assert [line.split()[0:2] for line in told] == [["process", str(command.pid)]] and "is gone" in told[0]


def test_a_controller_that_still_leaves_is_waited_for(run, process):
    command, controller = process(), process()
    take_lease(run, process_id(command.pid), process_id(controller.pid))
    end(command)
    told, waiting = [], threading.Event()

    def tell(line: str) -> None:
        told.append(line)
        waiting.set()

    taker = threading.Thread(target=lambda: told.append(take_lease(run, tell=tell).token))
    taker.start()
    assert waiting.wait(20)
    end(controller)
    taker.join(20)
    assert "waiting until its controller has left" in told[0]
    assert told[-1] == 2


def test_a_new_controller_is_named_in_place_of_the_dead_one(run, process):
    command, first, second = process(), process(), process()
    lease = take_lease(run, process_id(command.pid), process_id(first.pid))
    end(first)
    lease.renew(process_id(command.pid), process_id(second.pid))
    end(command)
    holder = holder_of(run)
    assert holder is not None and [living.pid for living in holder.living()] == [second.pid]
    assert token_of(run) == lease.token


HOLDER = """
import sys, time
from launcher.storage.lock import take_lease
from launcher.storage.run_dir import RunDir
from launcher.core.errors import UserError
sys.stdin.readline()
try:
    print(take_lease(RunDir(sys.argv[1])).token, flush=True)
    time.sleep(60)
except UserError as error:
    print(error, flush=True)
"""


def test_of_many_that_start_at_once_one_has_the_run_and_a_killed_holder_frees_it(run):
    takers = [subprocess.Popen([sys.executable, "-c", HOLDER, run.url], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               text=True) for _ in range(4)]
    try:
        for taker in takers:
            taker.stdin.write("go\n")
            taker.stdin.flush()
        said = {taker.stdout.readline().strip(): taker for taker in takers}
        winners = [taker for line, taker in said.items() if line == "1"]
        assert len(winners) == 1
        assert all(f"process {winners[0].pid}" in line for line in said if line != "1")
        end(winners[0])
        assert holder_of(run) is None
        assert take_lease(run).token == 2
    finally:
        for taker in takers:
            taker.kill()
            taker.communicate()


def test_a_holder_elsewhere_whose_heart_beats_is_refused(run):
    elsewhere(run)
    told = []

    def tell(line: str) -> None:
        told.append(line)
        elsewhere(run, beat=1, nonce=holder_of(run).nonce)

    with pytest.raises(UserError, match=r"being worked on by process \d+ on b17"):
        take_lease(run, tell=tell)
    assert len(told) == 1 and "waiting up to 30 s" in told[0]


def test_a_holder_elsewhere_whose_heart_stands_still_is_followed(run, monkeypatch):
    monkeypatch.setattr(leases.Heart, "__init__", _impatient(leases.Heart.__init__))
    elsewhere(run, 4)
    refuse_held(run)
    # It is known to be dead from here on, and not waited for or told of again.
    told = []
    lease = take_lease(run, tell=told.append)
    assert (lease.token, told) == (6, [])


def test_a_holder_that_lost_its_lease_can_know(run):
    lease = take_lease(run)
    assert not lease.lost()
    elsewhere(run, 2)
    assert lease.lost()
    lease.release()
    assert holder_of(run).host == "b17"


def test_the_heart_beats_while_the_run_is_held(run, monkeypatch):
    monkeypatch.setattr(leases, "BEAT_S", 0.02)
    lease = take_lease(run)
    while holder_of(run).beat < 3:
        pass
    lease.release()
    assert Queue(run.store, lock.PREFIX).highest()[1].released


def test_who_looks_from_elsewhere_finds_out_in_time_that_the_holder_is_dead(run):
    elsewhere(run)
    watch = HolderWatch(run, patience_s=0.1)
    assert watch.look().host == "b17"
    time.sleep(0.15)
    assert watch.look() is None


def test_a_holder_heard_lately_is_believed_at_once_and_one_long_silent_is_watched(run, tmp_path):
    elsewhere(run)
    silent = RunDir(tmp_path / "runs/silent")
    elsewhere(silent, heard=time.time() - 3600)
    free = RunDir(tmp_path / "runs/free")
    begun = time.monotonic()
    assert living_holders([run, free], patience_s=30.0)[0].host == "b17"
    assert time.monotonic() - begun < 5
    assert living_holders([silent, free], patience_s=0.2) == [None, None]


def _impatient(init):
    return lambda self, patience_s=0.1: init(self, patience_s)


