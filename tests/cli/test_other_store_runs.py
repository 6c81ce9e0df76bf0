"""Whole runs at what stands in for Google's and Azure's storage: stopped in the middle, continued, and bit for bit the
same; and what a person is told who lacks something."""

import json

import pytest

from launcher.storage.run_dir import RunDir
from tests.cli.test_store_runs import RUN, exported, machine, stop_at, whole  # noqa: F401  (fixtures among them)

BUCKETS = pytest.mark.parametrize("kind", ["gs", "az"])


@pytest.fixture
def its_bucket(kind, request):
    return request.getfixturevalue(f"{kind}_bucket")


@pytest.mark.slow
@pytest.mark.timeout(600)
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
    assert "step" in second.type("logs", url) and url in second.type("ls", url.rpartition("/")[0])
