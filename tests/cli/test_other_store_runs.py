"""Whole runs at what stands in for Google's and Azure's storage: stopped in the middle, continued, and bit for bit the
same; and what a person is told who lacks something."""

import json

import pytest

from launcher.core.drill import shortened
from launcher.storage.run_dir import RunDir
from tests.cli.test_store_runs import Machine, exported, machine, stop_at  # noqa: F401  (a fixture among them)
from tests.storage.s3_relay import Faults

SHORT = [word for each in shortened(3, 30, 15) for word in ("--set", each)]
RUN = ("run", "quickstart", "--without-ray", "--workers", "2", *SHORT, "--run-dir")
BUCKETS = pytest.mark.parametrize("kind", ["gs", "az"])


@pytest.fixture
def its_bucket(kind, request):
    return request.getfixturevalue(f"{kind}_bucket")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What a run ends with that nothing happens to, in a folder."""
    here = Machine(tmp_path_factory.mktemp("unbroken"), "here")
    here.type(*RUN, "whole")
    return exported(here, "whole", "model")


@pytest.mark.campaign
@pytest.mark.timeout(900)
@BUCKETS
def test_a_stopped_run_goes_on_elsewhere_and_ends_as_if_nothing_had_happened(its_bucket, machine, whole) -> None:  # noqa: F811
    url = its_bucket.url
    first, second = machine("first"), machine("second")
    stop_at(first, first.start(*RUN, url), RunDir(url), 1)
    told = json.loads(second.type("status", url, "--json"))
    assert told["state"] == "yielded" and told["committed_step"] > 0 and told["run_dir"] == url
    printed = second.type("resume", url)
    assert "finished" in printed and "Traceback" not in printed
    assert exported(second, url, "model") == whole
    assert "each step that counts is there once" in second.type("checkpoints", url, "--verify")
    assert "==> attempt 2, progress <==" in second.type("logs", url)
    assert url in second.type("ls", url.rpartition("/")[0])


@pytest.mark.slow
@BUCKETS
def test_who_lacks_something_is_told_in_one_sentence(kind, its_bucket, machine, monkeypatch) -> None:  # noqa: F811
    here = machine("here")
    told = [here.type(*RUN, f"{kind}://no-such-bucket/x", code=2), here.type(*RUN, f"{kind}://Not_A_Bucket/x", code=2)]
    its_bucket.relay.faults = Faults(0, share=1, kinds=("unknown",))
    monkeypatch.delenv("AZURE_STORAGE_CONNECTION_STRING", raising=False)
    told.append(here.type(*RUN, its_bucket.url, code=2))
    for printed, said in zip(told, ("there is no such bucket", "cannot be a bucket's", "there are no credentials"),
                             strict=True):
        lines = [line for line in printed.splitlines() if "Authentication failed using Compute Engine" not in line]
        assert len(lines) == 1 and lines[0].startswith(f"launcher: {kind}://") and said in lines[0], printed
