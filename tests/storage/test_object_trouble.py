"""Trouble with object storage: what passes is waited for, what a person must mend is told once and without secrets."""

import pytest

from launcher.core.errors import UserError
from launcher.storage.object_store import ObjectStore
from launcher.storage.objects.link import Settings
from tests.storage.s3_relay import Faults, Once


def told(store, work=lambda store: store.get("a")):
    with pytest.raises(OSError) as raised:
        work(store)
    assert "planted" not in str(raised.value) and raised.value.__cause__ is raised.value.__context__ is None
    return raised.value


def test_a_bucket_that_is_not_there_is_told(bucket):
    for work in (lambda store: store.get("a"), lambda store: store.put("a", b""), lambda store: store.exists("a"),
                 lambda store: list(store.list()), lambda store: store.put_if_absent("a", b"")):
        error = told(ObjectStore("s3://no-such-bucket/x"), work)
        assert isinstance(error, UserError) and str(error).startswith("s3://no-such-bucket: there is no such bucket")
    assert isinstance(told(ObjectStore("s3://NOT A BUCKET/x")), UserError)


def test_missing_credentials_are_told(bucket, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    error = told(ObjectStore(bucket.url))
    assert isinstance(error, UserError) and "no credentials" in str(error) and "AWS_ACCESS_KEY_ID" in str(error)


def test_an_endpoint_that_is_none_is_told(bucket, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "localhost:9000")
    assert "AWS_ENDPOINT_URL must begin with http" in str(told(ObjectStore(bucket.url)))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    error = told(ObjectStore(bucket.url, Settings(patience_s=0.5)))
    assert error.filename == f"{bucket.url}/a" and "cannot be reached" in error.strerror


def test_what_will_not_pass_is_not_asked_for_again(bucket):
    store = ObjectStore(bucket.url)
    store.exists("connected")
    bucket.relay.faults, before = Faults(0, share=1, kinds=("denied",)), len(bucket.relay.asked)
    error = told(store)
    assert isinstance(error, UserError) and "access is denied (AccessDenied)" in str(error)
    assert error.filename == f"{bucket.url}/a" and len(bucket.relay.asked) == before + 1


def test_it_is_given_up_after_a_stated_time(bucket):
    store = ObjectStore(bucket.url, Settings(patience_s=0.4))
    store.exists("connected")
    bucket.relay.faults = Faults(0, share=1, kinds=("busy",))
    error = told(store)
    assert "does not answer well (SlowDown); asked" in error.strerror and error.filename == f"{bucket.url}/a"
    assert not isinstance(error, UserError) and bucket.relay.count("GET") > 1


@pytest.mark.slow
def test_a_stalled_connection_is_given_up_and_tried_again(bucket):
    store = ObjectStore(bucket.url, Settings(timeout_s=0.5, patience_s=30))
    store.put("a", b"1")
    bucket.relay.faults = Once(("GET", "/a", "stalled"), ("HEAD", "/a", "stalled"), ("PUT", "/a", "stalled"))
    assert store.get("a") == b"1" and store.exists("a")
    store.put("a", b"2")
    assert store.get("a") == b"2" and not bucket.relay.faults.left


def test_fsspecs_own_settings_hold(bucket, monkeypatch):
    import fsspec.config

    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setitem(fsspec.config.conf, "s3", {"endpoint_url": bucket.relay.address, "secret": "x", "key": "y",
                                                   "config_kwargs": {"user_agent_extra": "theirs"}})
    ObjectStore(bucket.url).put("a", b"1")
    assert bucket.relay.count("PUT") == 1
