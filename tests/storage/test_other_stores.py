"""Google's and Azure's storage, by what stands in for them: one winner, one request for each try, and what is told."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from launcher.core.errors import UserError
from launcher.storage.object_store import ObjectStore
from launcher.storage.objects.link import Settings
from tests.storage.s3_relay import Faults, Once
from tests.storage.test_object_store import CHILD
from tests.storage.test_object_trouble import told

PART = 5 << 20
CONNECTION = "AZURE_STORAGE_CONNECTION_STRING"


@pytest.fixture(autouse=True)
def scratch(tmp_path, monkeypatch):
    monkeypatch.setenv("LAUNCHER_SCRATCH", str(tmp_path / "scratch"))


@pytest.fixture(params=[pytest.param(kind, marks=pytest.mark.slow) for kind in ("gs", "az")])
def kind(request):
    return request.param


@pytest.fixture
def its_bucket(kind, request):
    return request.getfixturevalue(f"{kind}_bucket")


@pytest.fixture
def store(its_bucket):
    return ObjectStore(its_bucket.url, Settings(part_bytes=PART, timeout_s=5, patience_s=60))


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


@pytest.mark.slow
def test_of_large_objects_that_are_put_at_once_one_is_there_too(store):
    contents = [bytes([number]) * (2 * PART) for number in range(3)]
    with ThreadPoolExecutor(3) as pool:
        won = list(pool.map(lambda content: store.put_if_absent("large", content), contents))
    assert won.count(True) == 1 and store.get("large") == contents[won.index(True)]


@pytest.mark.parametrize("fault", ["cut after", pytest.param("broken after", marks=pytest.mark.slow)])
def test_a_put_that_succeeded_unseen_is_not_somebody_elses(its_bucket, store, fault):
    put = ("POST", "upload") if store.url.startswith("gs") else ("PUT", "lease")
    its_bucket.relay.faults = Once((*put, fault))
    assert store.put_if_absent("lease/1", b"mine") and its_bucket.relay.count(*put) == 2
    assert not store.put_if_absent("lease/1", b"other") and store.get("lease/1") == b"mine"
    its_bucket.relay.faults = Once(("DELETE", "", fault))
    store.delete("lease/1")
    assert list(store.list()) == [] and not its_bucket.relay.faults.left


# A lease is a byte longer at its tenth beat, and somebody always reads it.
@pytest.mark.parametrize(("before", "after"), [(9, 10), (10, 9), (10, 10), pytest.param(
    2 * PART, PART + 9, marks=pytest.mark.slow)])
def test_an_object_that_is_replaced_while_it_is_read_is_read_again(its_bucket, store, before, after):
    store.put("a", b"1" * before)

    class Replaced(Faults):
        def draw(self, method, path):
            if method == "GET" and (store.url.startswith("az") or "alt=media" in path):
                its_bucket.put("runs/x/a", b"2" * after) if not self.seed else None
                self.seed += 1

    for read in (store.get, lambda key: store.local(key).read_bytes()):
        its_bucket.put("runs/x/a", b"1" * before)
        its_bucket.relay.faults = Replaced(0)
        assert read("a") == b"2" * after and its_bucket.relay.faults.seed > 1


def test_a_look_at_an_object_is_one_request(its_bucket, store):
    store.put("a", b"1")
    before = len(its_bucket.relay.asked)
    assert store.size("a") == 1 and len(its_bucket.relay.asked) == before + 1


@pytest.mark.parametrize("work", ["get", "exists", "delete", "list", "put", "put_if_absent", "large"])
def test_a_bucket_that_is_not_there_is_told(kind, its_bucket, work):
    store = ObjectStore(f"{kind}://no-such-bucket/x", Settings(part_bytes=PART))
    works = {"list": lambda store: list(store.list()), "put": lambda store: store.put("a", b""),
             "put_if_absent": lambda store: store.put_if_absent("a", b""),
             "large": lambda store: store.put("a", bytes(PART + 1))}
    error = told(store, works.get(work, lambda store: getattr(store, work)("a")))
    assert isinstance(error, UserError) and str(error).startswith(f"{kind}://no-such-bucket: there is no such bucket")


@pytest.mark.parametrize("url", ["gs://Not_A_Bucket/x", "az://not_a_container/x", "az://-a/x", "abfs://B@account/x",
                                 "gs://ab/x"])
def test_a_name_that_no_bucket_can_have_is_told(url):
    with pytest.raises(UserError, match="cannot be a bucket's or container's name"):
        ObjectStore(url)


def test_a_request_is_tried_as_often_as_is_said_and_no_more(its_bucket, store):
    store.put("a", b"")
    its_bucket.relay.faults, before = Faults(0, share=1, kinds=("denied",)), len(its_bucket.relay.asked)
    error = told(store, lambda store: store.put("a", b""))
    assert isinstance(error, UserError) and "access is denied" in str(error)
    assert error.filename == f"{its_bucket.url}/a" and len(its_bucket.relay.asked) == before + 1
    its_bucket.relay.faults = Once(*[(method, "", "busy") for method in ("POST", "PUT")] * 2)
    store.put("a", b"1")
    assert len(its_bucket.relay.asked) == before + 4


def test_a_service_that_is_not_there_is_told_soon(kind, its_bucket, monkeypatch):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:9")
    monkeypatch.setenv(CONNECTION, "AccountName=a;AccountKey=cGxhbnRlZA==;BlobEndpoint=http://127.0.0.1:9/a")
    error = told(ObjectStore(its_bucket.url, Settings(patience_s=0.5)))
    assert error.filename == f"{its_bucket.url}/a" and "cannot be reached" in error.strerror


def test_missing_credentials_are_told(kind, its_bucket, monkeypatch):
    # Google's storage asks anonymous ones who they are; Azure's library does not begin without an account.
    its_bucket.relay.faults = Faults(0, share=1, kinds=("unknown",))
    for said in (None, "AccountName=planted;AccountKey"):
        monkeypatch.delenv(CONNECTION, raising=False) if said is None else monkeypatch.setenv(CONNECTION, said)
        error = told(ObjectStore(its_bucket.url))
        assert isinstance(error, UserError) and "there are no credentials for it" in str(error)
        assert ("GOOGLE_APPLICATION_CREDENTIALS" if kind == "gs" else CONNECTION) in str(error)


def test_azures_own_form_of_a_url_names_the_same_objects(az_bucket):
    store = ObjectStore(f"abfss://{az_bucket.name}@devstoreaccount1.dfs.core.windows.net/runs/x")
    store.put("a/b", b"1")
    assert list(store.list()) == ["a/b"] and ObjectStore(az_bucket.url).get("a/b") == b"1"
    assert store.url == f"abfss://{az_bucket.name}@devstoreaccount1.dfs.core.windows.net/runs/x"
