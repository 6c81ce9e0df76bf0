"""What holds for all tests."""

import os
import re
from pathlib import PurePosixPath

import pytest

# Before torch is imported: its threads in this process would spin for the cores that the workers of a test need.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from tests.storage.a_bucket import bucket, faulty_bucket, moto  # noqa: F401  (fixtures, known to all tests)
from tests.storage.other_buckets import az_bucket, azurite, google, gs_bucket  # noqa: F401

SIMULATING = ("platforms", "orchestration", "benchmarks")

# No deadline: on a busy machine an example takes as long as it takes. The blob makes a failure repeatable.
settings.register_profile("launcher", deadline=None, print_blob=True)
settings.load_profile("launcher")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return how many processes share the tests: two, as long tests wait more than they compute, for processes that
    start and leave. Those of a campaign, and those of an accelerator, have the machine for themselves."""
    alone = re.search(r"(?<!not )\b(campaign|gpu)\b", _chosen(config))
    return 0 if alone else min(2, os.cpu_count() or 1)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """Return what deals tests out to processes."""
    return _Together(config, log)


class _Together(LoadScopeScheduling):
    """Keeps in one process, one after the other: the tests of a file, which share its fixtures, and the long tests that
    simulate machines and clusters, whose addresses and ports there are once. (xdist's own groups, loadgroup, do nothing
    under pytest 9.2: its nodes have no `_nodeid` any more.)"""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::", 1)[0]
        simulating = "not slow" not in _chosen(self.config) and PurePosixPath(file).parts[1] in SIMULATING
        return "machines" if simulating else file


def _chosen(config: pytest.Config) -> str:
    return str(config.getoption("markexpr"))
