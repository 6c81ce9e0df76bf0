"""The judgement under object storage, without any: what is read together, what may pass, how long, how fast."""

import os
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.storage.objects.addresses import address_of
from launcher.storage.objects.flow import Flow
from launcher.storage.objects.reading import parts_of, ranges_of
from launcher.storage.objects.retries import FIRST_CONTACT_S, Retries, pause_s
from launcher.storage.objects.trouble import Kind, NotSo, PastEnd, StoreRefused, trouble_of
from launcher.storage.objects.writing import pieces_of

SPANS = st.lists(st.tuples(st.integers(0, 200), st.integers(0, 60)), max_size=12)


@given(SPANS, st.integers(1, 80))
def test_ranges_hold_every_span_and_nothing_that_nobody_asked_for(spans, most):
    found = ranges_of(spans, most)
    asked = {byte for begin, length in spans for byte in range(begin, begin + length)}
    assert {byte for each in found for byte in range(each.begin, each.end)} == asked
    assert sorted(number for each in found for number in each.spans) == [n for n, span in enumerate(spans) if span[1]]
    for each in found:
        assert all(each.begin <= spans[n][0] and sum(spans[n]) <= each.end for n in each.spans)
        assert each.end - each.begin <= most or len(each.spans) == 1
        parts = list(parts_of(each.begin, each.end, most))
        assert [parts[0].begin, *(part.end for part in parts)] == [*(part.begin for part in parts), each.end]


@given(st.lists(st.binary(max_size=30), max_size=12), st.integers(1, 20))
def test_pieces_are_the_content_in_one_size(chunks, size):
    pieces = list(pieces_of(iter(chunks), size))
    assert b"".join(pieces) == b"".join(chunks) and pieces == list(pieces_of(b"".join(chunks), size))
    assert all(len(piece) == size for piece in pieces[:-1]) and all(pieces)


class ClientError(Exception):
    """As botocore has it."""

    def __init__(self, code, status):
        self.response = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}


class HttpError(Exception):
    """As gcsfs has it."""

    def __init__(self, code):
        self.code = code


class HttpResponseError(Exception):
    """As Azure has it."""

    def __init__(self, error_code, status_code):
        self.error_code, self.status_code = error_code, status_code


class HTTPClientError(Exception):
    """As botocore has it, around errors of the network."""


class ClientPayloadError(Exception):
    """As aiohttp has it, around one that has the code 400."""


class NoCredentialsError(Exception):
    pass


def caused(error, cause):
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(("error", "kind"), [
    (ClientError("SlowDown", 503), Kind.PASSING), (ClientError("RequestTimeout", 400), Kind.PASSING),
    (ClientError("ConditionalRequestConflict", 409), Kind.PASSING), (ClientError("503", 503), Kind.PASSING),
    (caused(FileNotFoundError(), ClientError("NoSuchKey", 404)), Kind.MISSING),
    (caused(FileNotFoundError(), ClientError("404", 404)), Kind.MISSING),
    (caused(FileNotFoundError(), ClientError("NoSuchBucket", 404)), Kind.NO_BUCKET),
    (caused(FileExistsError(), ClientError("PreconditionFailed", 412)), Kind.CONDITION),
    (ClientError("ExpiredToken", 400), Kind.DENIED), (caused(PermissionError(), ClientError("403", 403)), Kind.DENIED),
    (ClientError("InvalidRange", 416), Kind.PAST_END), (ClientError("InvalidRequest", 400), Kind.REFUSED),
    (ClientError("NotImplemented", 501), Kind.REFUSED),
    (HttpError(429), Kind.PASSING), (HttpError(404), Kind.MISSING), (HttpError(412), Kind.CONDITION),
    (caused(FileExistsError(), HttpResponseError("StorageErrorCode.BLOB_ALREADY_EXISTS", 409)), Kind.CONDITION),
    (caused(ClientPayloadError(), HttpError(400)), Kind.PASSING), (HttpError(522), Kind.PASSING),
    (HttpResponseError("ServerBusy", 503), Kind.PASSING), (HttpResponseError("BlobNotFound", 404), Kind.MISSING),
    (OSError("Forbidden: b/o"), Kind.DENIED), (ConnectionResetError(), Kind.PASSING), (TimeoutError(), Kind.PASSING),
    (ConnectionRefusedError(), Kind.UNREACHABLE), (OSError(28, "No space left"), Kind.NOT_ITS_OWN),
    (caused(HTTPClientError(), OSError(113, "no route")), Kind.PASSING), (NoCredentialsError(), Kind.NO_CREDENTIALS),
    (FileNotFoundError(), Kind.MISSING), (FileExistsError(), Kind.CONDITION), (OSError(5, "?"), Kind.REFUSED),
    (TypeError(), Kind.NOT_ITS_OWN)])
def test_an_error_says_what_is_to_be_done_whichever_library_it_is_of(error, kind):
    assert trouble_of(error).kind is kind


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self):
        self.now, self.slept = 100.0, []

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


def asking(error, patience_s=60.0):
    """Ask for something that always fails with an error."""
    clock = Clock()

    def request():
        raise error

    retries = Retries(address_of("s3://bucket/x"), patience_s, clock=clock, sleep=clock.sleep, draw=lambda: 1.0)
    return clock, lambda: retries.ask("key", request)


def test_pauses_grow_and_are_bounded_and_drawn():
    assert [pause_s(tries, lambda: 1.0) for tries in (1, 2, 3, 7, 50)] == [0.2, 0.4, 0.8, 10.0, 10.0]
    assert pause_s(3, lambda: 0.0) == 0.4


def test_nothing_is_asked_for_after_the_stated_time():
    clock, ask = asking(ClientError("SlowDown", 503))
    with pytest.raises(OSError, match=r"does not answer well \(SlowDown\); asked 11 times in 53 s") as raised:
        ask()
    assert raised.value.filename == "s3://bucket/x/key" and sum(clock.slept) <= 60
    assert all(later >= earlier for earlier, later in pairwise(clock.slept))


def test_a_wrong_address_is_told_sooner():
    clock, ask = asking(ConnectionRefusedError())
    with pytest.raises(OSError, match="cannot be reached"):
        ask()
    assert sum(clock.slept) <= FIRST_CONTACT_S


@pytest.mark.parametrize(("error", "raised"), [
    (FileNotFoundError(), KeyError), (FileExistsError(), NotSo), (ClientError("InvalidRange", 416), PastEnd),
    (ClientError("AccessDenied", 403), StoreRefused), (ClientError("Strange", 400), OSError), (TypeError(), TypeError)])
def test_what_will_not_pass_is_told_at_once(error, raised):
    clock, ask = asking(error)
    with pytest.raises(raised):
        ask()
    assert not clock.slept


def test_bytes_flow_at_their_rate():
    clock = Clock()
    flow = Flow(100, clock=clock, sleep=clock.sleep)
    for _ in range(4):
        flow.wait(50)
    assert clock.slept == [0.0, 0.5, 0.5, 0.5]
    clock.now += 10  # time in which nothing flowed is not saved up
    flow.wait(50)
    flow.wait(50)
    assert clock.slept[4:] == [0.0, 0.5]


def test_a_scratch_folder_is_ones_own(tmp_path, monkeypatch):
    from launcher.storage.objects.local_copies import scratch

    monkeypatch.setenv("LAUNCHER_SCRATCH", str(tmp_path / "nvme"))
    assert scratch() == tmp_path / f"nvme/launcher-{os.getuid()}/objects" and scratch().stat().st_mode & 0o077 == 0
    monkeypatch.delenv("LAUNCHER_SCRATCH")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert scratch() == tmp_path / ".cache/launcher/objects"
