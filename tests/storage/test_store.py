"""What every Store holds to: on a local disk, in memory, in S3, and at what stands in for Google's and Azure's."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from launcher.core.errors import UserError
from launcher.storage.object_store import ObjectStore
from launcher.storage.objects.link import Settings
from launcher.storage.store import LocalStore, open_store

PART = 5 << 20
"""The smallest that S3 takes."""
SMALL_PARTS = Settings(part_bytes=PART)


BUCKETS = {"s3": "bucket", "gs": "gs_bucket", "az": "az_bucket"}


@pytest.fixture(params=["local", "memory", "s3", *(
    pytest.param(kind, marks=pytest.mark.slow) for kind in ("gs", "az"))])
def store(request, tmp_path, monkeypatch):
    monkeypatch.setenv("LAUNCHER_SCRATCH", str(tmp_path / "scratch"))
    if request.param == "local":
        return LocalStore(tmp_path / "store")
    if request.param == "memory":
        return ObjectStore(f"memory://{tmp_path.name}-{os.getpid()}", SMALL_PARTS)
    return ObjectStore(request.getfixturevalue(BUCKETS[request.param]).url, SMALL_PARTS)


def test_what_is_put_is_there(store):
    store.put("a/b", b"12345")
    assert store.get("a/b") == b"12345" and store.size("a/b") == 5 and store.exists("a/b")
    store.put("a/b", iter([b"6", b"", b"78"]))
    assert store.get("a/b") == b"678" == open_store(store.url).get("a/b")
    store.put("empty", b"")
    store.put("empty too", iter(()))
    assert store.get("empty") == store.get("empty too") == b"" and store.size("empty") == 0
    assert store.local("empty").read_bytes() == b""


def test_what_is_missing_is_told_by_its_key(store):
    store.put("a/b", b"1")
    for ask in (store.get, store.size, store.local, lambda key: store.get_range(key, 0, 1),
                lambda key: store.get_range(key, 0, 0), lambda key: store.get_ranges(key, [(0, 1), (5, 1)])):
        for key in ("a/c", "other", "a/b/c"):
            with pytest.raises(KeyError) as raised:
                ask(key)
            assert raised.value.args == (key,)
    assert not store.exists("a") and not store.exists("a/c")
    store.delete("a/c")
    store.delete("a/b")
    store.delete("a/b")
    assert list(store.list()) == []


def test_keys_stay_inside(store):
    for key in ("", "/etc/passwd", "../other", "a/../../b"):
        for use in (store.get, lambda key: store.put(key, b""), lambda key: store.put_if_absent(key, b""), store.delete,
                    store.size, store.local, lambda key: store.get_ranges(key, [(0, 1)])):
            with pytest.raises(ValueError, match="is not a key"):
                use(key)


def test_ranges_end_with_the_object(store):
    store.put("a", bytes(range(100)))
    whole = bytes(range(100))
    spans = [(0, 10), (10, 5), (95, 20), (100, 1), (300, 4), (12, 40), (0, 0), (7, 1), (0, 100)]
    assert store.get_ranges("a", spans) == [whole[begin:begin + length] for begin, length in spans]
    assert [store.get_range("a", *span) for span in spans] == store.get_ranges("a", spans)
    assert store.get_ranges("a", []) == []
    store.put("empty", b"")
    assert store.get_range("empty", 0, 3) == b""


def test_keys_are_listed_in_order(store):
    for key in ("b/2", "b/10", "a", "b/1/x", "ba", "z/\xfc", "z/a b", "z/%41+=&#?"):
        store.put(key, b"")
    assert list(store.list()) == ["a", "b/1/x", "b/10", "b/2", "ba", "z/%41+=&#?", "z/a b", "z/\xfc"]
    assert list(store.list("b")) == ["b/1/x", "b/10", "b/2", "ba"]
    assert list(store.list("b/1")) == ["b/1/x", "b/10"] and list(store.list("c/d")) == []
    assert store.get("z/%41+=&#?") == b""
    store.delete("b/10")
    assert list(store.list("b/")) == ["b/1/x", "b/2"]


def test_one_of_many_puts_it_first(store):
    begin = threading.Barrier(8)

    def put(number):
        begin.wait(20)
        return store.put_if_absent("lease/1", f"by {number}".encode())

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(put, range(8)))
    assert won.count(True) == 1 and store.get("lease/1") == f"by {won.index(True)}".encode()
    assert not store.put_if_absent("lease/1", iter([b"late"]))


@pytest.mark.parametrize("store", ["local", "memory", *(
    pytest.param(kind, marks=pytest.mark.slow) for kind in BUCKETS)], indirect=True)
def test_large_objects_are_whole_or_not_there(store):
    large = os.urandom(PART) + os.urandom(PART) + b"end"
    store.put("large", (large[begin:begin + 700_001] for begin in range(0, len(large), 700_001)))
    assert store.get("large") == large and store.local("large").read_bytes() == large
    assert store.get_ranges("large", [(3, PART + 5), (len(large) - 3, 9)]) == [large[3:PART + 8], b"end"]

    def breaks_off():
        yield large
        assert not store.exists("never")
        raise RuntimeError("the source is gone")

    with pytest.raises(RuntimeError, match="the source is gone"):
        store.put("never", breaks_off())
    assert not store.exists("never") and list(store.list()) == ["large"]
    assert not store.put_if_absent("large", large[::-1]) and store.put_if_absent("other", large[:-1])
    assert store.size("other") == len(large) - 1 and store.size("large") == len(large)


@pytest.mark.parametrize(("url", "said"), [
    ("ftp://host/x", "ftp:// is no object storage"), ("nonsense://x", "nonsense:// is no object storage"),
    ("s3://", "is not a bucket"), ("s3:///runs", "is not a bucket"), ("s3://bucket/../x", "is not a bucket"),
    ("simplecache::s3://bucket/x", "is not the URL of a store"), ("s3://bucket/x?versionId=1", "ends in a query"),
    ("s3://KEY:sec/ret@bucket/x", "has a user or a password"), ("s3://KEY@bucket/x", "has a user or a password"),
    ("az://box/x?sv=1&sig=sec/ret", "ends in a query")])
def test_urls_that_are_none_are_told_without_what_is_secret(url, said):
    with pytest.raises(UserError) as told:
        open_store(url)
    assert said in str(told.value) and "sec" not in str(told.value) and "KEY" not in str(told.value)


def test_a_package_that_is_missing_is_told(monkeypatch):
    from launcher.storage.objects import addresses

    monkeypatch.setitem(addresses.PACKAGES, "gs", ("no_such_gcsfs", "gs"))
    with pytest.raises(UserError, match=r"gs://bucket/x: needs the package no_such_gcsfs.*'launcher\[gs\]'"):
        open_store("gs://bucket/x/")


def test_a_path_stays_a_path(tmp_path):
    assert open_store(f"file://{tmp_path}/a").url == open_store(f"{tmp_path}/a").url == str(tmp_path / "a")
    assert open_store("s3://bucket/runs/x//").url == "s3://bucket/runs/x"
