"""Runs in a bucket on Ray clusters whose machines share nothing but the network, across all that a cloud does to them.

Real commands, Ray, workers and S3 protocol; the bucket fails one request in five. What the cloud is made of is
`a_cloud`, what happens to a run in it `cloud_run`; `benchmarks.cloud` has the counts.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from benchmarks.machines import why_not
from tests.platforms import cloud_run
from tests.platforms.a_cloud import ROOT, Cloud
from tests.platforms.cloud_run import NODES, CloudRun, Trouble, recipe, unbroken
from tests.storage.s3_relay import KINDS

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not() or "it is possible")

STEPS, EVERY = 900, 25
QUICK = tuple(kind for kind in KINDS if kind != "stalled")
"""A stalled request costs 20 s until it is given up: one is enough where time counts."""


@pytest.fixture
def cloud(moto, bucket) -> Iterator[Cloud]:
    """The cloud with a cluster. This process itself asks the bucket where nothing goes wrong."""
    with Cloud(moto, bucket.name) as made:
        made.start_cluster(NODES)
        yield made


@pytest.mark.campaign
@pytest.mark.timeout(1800)
def test_a_run_outlives_its_driver_its_job_a_raylet_and_the_head_and_tells_no_secret(cloud, tmp_path) -> None:
    seed = time.time_ns() % 2**32
    print(f"seed {seed}")
    chance = Random(seed)
    for machine in (cloud.head, *cloud.nodes):
        assert not any(cloud.writes(machine, place) for place in ("/tmp", "/var/tmp", str(ROOT), str(Path.home())))
    whole = unbroken(tmp_path, recipe(STEPS, EVERY))
    run = CloudRun(cloud, tmp_path, recipe(STEPS, EVERY), Trouble(seed, QUICK))

    run.plain()
    cloud_run.kill_uploader(run, chance)
    run.until_it_trains(1)
    run.until(lambda: run.events("checkpoint_committed"), "a checkpoint")
    cloud_run.kill_driver(run, chance)
    code, printed = run.ended()
    assert code != 0, printed
    last = run.attempt()
    run.submit("--retry-forever")
    run.until_it_trains(last)
    cloud_run.kill_raylet(run, chance)
    run.until_it_trains(last + 1)
    last = run.attempt()
    # Without what the nodes would do alone for a while, which the campaign tries: it could be all that is left to do.
    cloud_run.lose_cluster(run, chance)
    run.until_it_trains(last)
    cloud_run.ray_job_stop(run, chance)
    run.trouble.first.append(("PUT", "-rank-", "stalled"))
    run.plain()
    code, printed = run.ended()
    assert code == 0 and "succeeded" in printed, printed[-4000:]

    assert run.problems(whole) == []
    resumed = [event["resume"] for event in run.events("attempt_started")]
    print(f"attempts went on from {resumed}")
    assert resumed[:2] == [None, None] and resumed[2] > 0 and sorted(resumed[2:]) == resumed[2:]
    cloud.search()
    assert cloud.secrets.seen == []
