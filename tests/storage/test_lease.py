"""Work is done by one process for all, whoever dies on the way."""

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from launcher.storage import lease
from launcher.storage.lease import Claim, work_once
from launcher.storage.process_id import process_id
from launcher.storage.store import LocalStore, open_store

NAME = "leases/job/"


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.slow)])
def store(request, tmp_path):
    return LocalStore(tmp_path) if request.param == "local" else open_store(request.getfixturevalue("bucket").url)


class Job:
    """Puts an object, and counts how often."""

    def __init__(self, store, trouble=()):
        self.store, self.trouble, self.made = store, list(trouble), 0
        self.enter, self.go_on = threading.Event(), threading.Event()
        self.go_on.set()

    def find(self):
        return self.store.get("result") if self.store.exists("result") else None

    def make(self):
        self.made += 1
        self.enter.set()
        assert self.go_on.wait(20)
        if self.trouble:
            raise self.trouble.pop()
        self.store.put("result", b"done")
        return b"done"

    def once(self, waiting=None, **more):
        return work_once(self.store, "job", self.find, self.make, waiting, **more)


def elsewhere(store, number, **changes):
    """A process on another host holds the lease."""
    claim = Claim(host="b17", machine="another", process=process_id(), nonce="0").model_copy(update=changes)
    store.put(f"{NAME}{number:06d}.json", claim.to_json().encode())
    return claim


def test_what_is_there_is_not_made(store):
    store.put("result", b"earlier")
    job = Job(store)
    assert job.once() == b"earlier" and not job.made and not list(store.list("leases/"))


def test_one_makes_it_for_all(store):
    job, told = Job(store), []
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: job.once(told.append), range(8)))
    assert found == [b"done"] * 8 and job.made == 1
    assert set(told) <= {f"process {os.getpid()} on {lease.socket.gethostname()}"}
    assert len(list(store.list(NAME))) == 1


def test_those_who_wait_are_told_for_whom(store):
    job, told = Job(store), []
    job.go_on.clear()
    seen = threading.Event()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(job.once)
        assert job.enter.wait(20)
        second = pool.submit(job.once, lambda holder: (told.append(holder), seen.set()))
        assert seen.wait(20)
        job.go_on.set()
        assert first.result() == second.result() == b"done"
    assert job.made == 1 and told == [f"process {os.getpid()} on {lease.socket.gethostname()}"]


HOLDER = """
import sys, time
from launcher.storage.lease import work_once
from launcher.storage.store import open_store
def make():
    print("holding", flush=True)
    time.sleep(60)
work_once(open_store(sys.argv[1]), "job", lambda: None, make)
"""


def test_a_killed_holder_on_this_host_is_followed_at_once(store):
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, store.url], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "holding\n"
    job = Job(store)
    with ThreadPoolExecutor(1) as pool:
        told = threading.Event()
        waiting = pool.submit(job.once, lambda _: told.set(), patience_s=1000)
        assert told.wait(20) and not job.made
        holder.kill()
        holder.communicate()
        assert waiting.result(20) == b"done" and job.made == 1


def test_a_holder_elsewhere_whose_heart_stands_still_is_followed_by_one(store):
    elsewhere(store, 4)
    # Longer than the work takes, which over a network is some requests.
    job, patience_s = Job(store), 0.3 if isinstance(store, LocalStore) else 5
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda _: job.once(patience_s=patience_s), range(8))) == [b"done"] * 8
    assert job.made == 1
    # More than one may follow: who looked before it was done and asks after it was given back finds it done then.
    (last,) = store.list(NAME)
    assert last >= f"{NAME}000005.json" and Claim.from_json(store.get(last)).released


def test_a_holder_elsewhere_whose_heart_beats_is_waited_for(store):
    job, beats = Job(store), []

    def find():
        # A beat each time it is looked at.
        beats.append(elsewhere(store, 4, beat=len(beats)))
        if len(beats) == 8:
            store.put("result", b"theirs")
        return job.find()

    assert work_once(store, "job", find, job.make, patience_s=0.5) == b"theirs" and not job.made


def test_the_heart_of_a_holder_beats(store, monkeypatch):
    monkeypatch.setattr(lease, "BEAT_S", 0.02)
    job = Job(store)
    job.go_on.clear()
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(job.once)
        assert job.enter.wait(20)
        while not Claim.from_json(store.get(f"{NAME}000001.json")).beat > 2:
            pass
        job.go_on.set()
        working.result()
    assert Claim.from_json(store.get(f"{NAME}000001.json")).released


def test_what_fails_is_free_for_the_next(store):
    job = Job(store, [ValueError("bad row")])
    with pytest.raises(ValueError, match="bad row"):
        job.once()
    assert job.once(patience_s=1000) == b"done" and job.made == 2


def test_trouble_with_the_disk_is_told(store):
    with pytest.raises(OSError, match="disk full"):
        Job(store, [OSError("disk full")]).once()


def test_a_paused_holder_takes_what_its_successor_made(store):
    job = Job(store, [FileNotFoundError("cleared away by the successor")])

    def make():
        elsewhere(store, 2, released=True)
        store.put("result", b"the successor's")
        return job.make()

    assert work_once(store, "job", job.find, make) == b"the successor's"


def test_numbers_that_were_deleted_are_not_held_again(store):
    elsewhere(store, 7, released=True)
    assert lease.Queue(store, NAME).take(3, lease.claim_of(process_id())) is None
    assert store.exists(f"{NAME}000007.json")


def test_sweeping_removes_what_was_never_finished_and_nothing_else(tmp_path):
    store = LocalStore(tmp_path)
    store.put("prepared/a/tokens", b"1")
    for name in ("prepared/a/.tokens.77.abc", "prepared/a/train/.x.1.2", "prepared/b/.other.1.2"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"torn")
    store.sweep("prepared/a/")
    store.sweep("nothing/there/")
    left = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert left == ["prepared/a/tokens", "prepared/b/.other.1.2"]
