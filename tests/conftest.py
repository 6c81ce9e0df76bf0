"""What holds for all tests."""

import os
import re
from pathlib import Path

import pytest

# Before torch is imported: its threads in this process would spin for the cores that the workers of a test need.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from hypothesis import settings

from tests.storage.a_bucket import bucket, faulty_bucket, moto  # noqa: F401  (fixtures, known to all tests)
from tests.storage.other_buckets import az_bucket, azurite, google, gs_bucket  # noqa: F401

SIMULATING = ("platforms", "orchestration", "benchmarks")

# No deadline: on a busy machine an example takes as long as it takes. The blob makes a failure repeatable.
settings.register_profile("launcher", deadline=None, print_blob=True)
settings.load_profile("launcher")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return how many processes share the tests: two, as long tests wait more than they compute, for processes that
    start and leave. Those of a campaign, and those of an accelerator, have the machine for themselves."""
    alone = re.search(r"(?<!not )\b(campaign|gpu)\b", str(config.getoption("markexpr")))
    return 0 if alone else min(2, os.cpu_count() or 1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep in one process, one after the other: the tests of a file, which share its fixtures, and the long tests that
    simulate machines and clusters, whose addresses and ports there are once."""
    for item in items:
        place = item.path.relative_to(Path(__file__).parent)
        simulating = item.get_closest_marker("slow") is not None and place.parts[0] in SIMULATING
        item.add_marker(pytest.mark.xdist_group("machines" if simulating else str(place)))
