"""Object storage as it is: one winner, large objects in parts, answers that are lost, and copies on a node."""

import asyncio
import os
import pickle
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from launcher.storage.object_store import ObjectStore
from launcher.storage.objects.link import Settings
from tests.storage.s3_relay import Faults, Once

PART = 5 << 20
SETTINGS = Settings(part_bytes=PART, timeout_s=5, patience_s=60)


@pytest.fixture(autouse=True)
def scratch(tmp_path, monkeypatch):
    monkeypatch.setenv("LAUNCHER_SCRATCH", str(tmp_path / "scratch"))
    return tmp_path / "scratch"


@pytest.fixture
def store(bucket):
    return ObjectStore(bucket.url, SETTINGS)


CHILD = """
import os, sys
from launcher.storage.object_store import ObjectStore
store = ObjectStore(sys.argv[1])
store.exists("warm")
print("ready", flush=True)
sys.stdin.readline()
print(store.put_if_absent("lease", sys.argv[2].encode()), flush=True)
"""


@pytest.mark.slow
def test_one_of_many_processes_puts_it_first(store):
    children = [subprocess.Popen([sys.executable, "-c", CHILD, store.url, str(number)], text=True,
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE) for number in range(4)]
    for child in children:
        assert child.stdout.readline() == "ready\n"
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()
    won = [child.communicate()[0].strip() for child in children]
    assert sorted(won) == ["False", "False", "False", "True"] and store.get("lease") == str(won.index("True")).encode()


@pytest.mark.parametrize("fault", ["cut after", pytest.param("broken after", marks=pytest.mark.slow)])
def test_a_put_that_succeeded_unseen_is_not_somebody_elses(bucket, store, fault):
    bucket.relay.faults = Once(("PUT", "lease", fault))
    assert store.put_if_absent("lease/1", b"mine") and bucket.relay.count("PUT", "lease") == 2
    assert not store.put_if_absent("lease/1", b"mine")
    bucket.relay.faults = Once(("POST", "large?uploadId", fault))
    assert store.put_if_absent("large", bytes(2 * PART)) and store.size("large") == 2 * PART
    bucket.relay.faults = Once(("DELETE", "lease", fault))
    store.delete("lease/1")
    assert list(store.list()) == ["large"]


def test_a_lost_race_is_told_even_where_answers_are_lost(bucket, store):
    store.exists("connected")

    class TheyWereFirst(Faults):
        def draw(self, method, path):
            if method == "PUT" and "lease" in path and not self.seed:
                self.seed = 1
                bucket.put("runs/x/lease", b"theirs")
                return "cut before"
            return None

    bucket.relay.faults = TheyWereFirst(0)
    assert not store.put_if_absent("lease", b"mine") and store.get("lease") == b"theirs"


@pytest.mark.slow
def test_a_part_that_fails_is_sent_again_and_nothing_else(bucket, store):
    bucket.relay.faults = Once(("PUT", "partNumber=2", "busy"), ("GET", "large", "torn"))
    large = os.urandom(3 * PART)
    store.put("large", large)
    assert bucket.relay.count("PUT", "partNumber") == 4 and store.written_bytes == 3 * PART
    assert store.get("large") == large and store.read_bytes == 3 * PART
    assert sorted(asked.range for asked in bucket.relay.asked if asked.method == "GET" and not asked.fault) == [
        f"bytes={begin}-{begin + PART - 1}" for begin in (0, 2 * PART, PART)]


@pytest.mark.slow
def test_what_a_killed_process_left_is_swept_below_its_prefix(bucket, store):
    for key in ("data/a", "data/b", "other"):
        store._link(key).requests.upload(key, "mark", new=False).part(1, bytes(10))
    store.sweep("data/")
    assert bucket.ask("?uploads").count("<UploadId>") == 1
    with pytest.raises(ZeroDivisionError):
        store.put("data/c", (bytes(3 * PART) if number else bytes(1 // number) for number in (1, 0)))
    assert bucket.ask("?uploads").count("<UploadId>") == 1 and list(store.list()) == []


def test_only_what_is_asked_for_is_read(bucket, store):
    store.put("weights", bytes(1000))
    assert list(map(len, store.get_ranges("weights", [(0, 10), (500, 100), (10, 10), (600, 1)]))) == [10, 100, 10, 1]
    assert store.read_bytes == 121
    assert sorted(asked.range for asked in bucket.relay.asked if asked.method == "GET") == [
        "bytes=0-19", "bytes=500-600"]


def test_ranges_are_read_side_by_side_but_not_more_than_so_many(bucket):
    store = ObjectStore(bucket.url, Settings(parallel=3))
    store.put("weights", bytes(1000))
    at_once, most, lock = [0], [0], threading.Lock()
    read = store._link().requests.read

    def counted(*args):
        with lock:
            at_once[0] += 1
            most[0] = max(at_once[0], most[0])
        time.sleep(0.02)
        with lock:
            at_once[0] -= 1
        return read(*args)

    store._link().requests.read = counted
    store.get_ranges("weights", [(number * 10, 5) for number in range(20)])
    assert most[0] == 3


@pytest.mark.slow
def test_a_copy_is_downloaded_once_for_all_of_a_node(bucket, store, scratch):
    store.put("a/tokens", os.urandom(2 * PART))
    others = [store, ObjectStore(store.url, SETTINGS), ObjectStore(store.url, SETTINGS)]
    with ThreadPoolExecutor(3) as pool:
        paths = set(pool.map(lambda each: each.local("a/tokens"), others))
    assert len(paths) == 1 and bucket.relay.count("GET", "tokens") == 2
    path = paths.pop()
    assert path.is_relative_to(scratch) and path.read_bytes() == store.get("a/tokens")
    assert sum(each.read_bytes for each in others) == 4 * PART  # `get` read it once more


def test_a_copy_that_is_not_the_object_is_downloaded_again(bucket, store):
    store.put("a", b"first")
    mapped = store.local("a").open("rb")
    store.put("a", b"other")
    assert store.local("a").read_bytes() == b"other" and mapped.read() == b"first"
    store.local("a").write_bytes(b"spilt")
    assert store.local("a").read_bytes() == b"other"
    store.local("a").unlink()
    assert store.local("a").read_bytes() == b"other"
    mapped.close()


@pytest.mark.slow
def test_an_object_that_is_replaced_while_it_is_read_is_read_again(bucket, store):
    store.put("a", b"1" * 2 * PART)
    store.exists("a")

    class Replaced(Faults):
        def draw(self, method, path):
            if method == "GET" and self.seed == 1:
                bucket.put("runs/x/a", b"2" * (PART + 9))
            self.seed += method == "GET"

    bucket.relay.faults = Replaced(0)
    assert store.get("a") == b"2" * (PART + 9)
    store.put("a", b"1" * 2 * PART)
    bucket.relay.faults = Replaced(0)
    assert store.local("a").read_bytes() == b"2" * (PART + 9)


def test_no_listing_is_stale_and_all_pages_are_read(bucket, store):
    other = ObjectStore(store.url, SETTINGS)
    for key in ("a", "b", "c"):
        assert key not in list(other.list()) and not other.exists(key)
        store.put(key, b"")
        assert key in list(other.list()) and other.exists(key)
    ask = store._link().requests.ask
    store._link().requests.ask = lambda method, size, **more: ask(
        method, size, **more, **({"MaxKeys": 2} if "list_objects" in method else {}))
    assert list(store.list()) == ["a", "b", "c"]


def test_it_works_inside_a_loop_and_after_a_fork(store):
    store.put("a", b"1")

    async def inside():
        return store.get("a"), await asyncio.to_thread(store.get, "a")

    assert asyncio.run(inside()) == (b"1", b"1")
    reader, writer = os.pipe()
    if not (child := os.fork()):
        try:
            os.write(writer, store.get("a") + str(store.read_bytes).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as said:
        assert said.read() == b"11"
    os.waitpid(child, 0)
    assert store.get("a") == pickle.loads(pickle.dumps(store)).get("a") == b"1"


def test_a_rate_holds_over_all_parts(bucket):
    store = ObjectStore(bucket.url, Settings(upload_bytes_per_s=80_000, download_bytes_per_s=80_000))
    store.exists("connected")
    for move in (lambda: store.put("a", bytes(4000)), lambda: store.get_ranges("a", [(0, 4000)])):
        begin = time.monotonic()
        for _ in range(4):
            move()
        assert time.monotonic() - begin > 0.149  # the first may begin at once
