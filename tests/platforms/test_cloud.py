"""Runs in a bucket on Ray clusters whose machines share nothing but the network, across all that a cloud does to them.

Real commands, Ray, workers and S3 protocol; the bucket fails one request in five. What the cloud is made of is
`a_cloud`, what happens to a run in it `cloud_run`.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from benchmarks.machines import why_not
from tests.platforms import cloud_run
from tests.platforms.a_cloud import ROOT, Cloud
from tests.platforms.cloud_run import NODES, Blow, CloudRun, Trouble, recipe, unbroken
from tests.storage.s3_relay import KINDS

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not() or "it is possible")

STEPS, EVERY = 900, 25
ROUNDS, MOMENTS = 5, 2
"""Of the campaign: runs of each kind, and how often each is hurt."""
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


@pytest.mark.campaign
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("blow", [*cloud_run.BLOWS, None],
                         ids=lambda blow: blow.__name__ if blow else "nothing but a bucket that fails and stalls")
def test_a_run_ends_as_if_nothing_had_happened(cloud, tmp_path, blow: Blow | None) -> None:
    text, found = recipe(STEPS, EVERY), dict[int, list[str]]()
    whole = unbroken(tmp_path, text)
    for _ in range(ROUNDS):
        seed = time.time_ns() % 2**32
        run = CloudRun(cloud, tmp_path, text, Trouble(seed, QUICK if blow else KINDS), f"run-{seed}")
        run.submit("--retry-forever")
        if blow is not None:
            for moment in sorted(Random(seed).sample(range(5, STEPS // 2), MOMENTS)):
                hurt(run, blow, moment, Random(f"{seed} {moment}"))
        code, printed = run.ended()
        found[seed] = run.problems(whole) if code == 0 else [printed[-4000:], *map(str, cloud.relay.asked[-20:])]
        print(f"{blow.__name__ if blow else 'no blow'}, seed {seed}: {run.attempt()} attempts, "
              f"{len(cloud.relay.asked)} requests so far, {found[seed] or 'to the last bit'}", flush=True)
    assert not any(found.values()), found
    cloud.search()
    assert cloud.secrets.seen == []


def hurt(run: CloudRun, blow: Blow, moment: int, chance: Random) -> None:
    """Hurt a run once it has reached a step, and wait until it trains again."""
    run.until(lambda: run.reached() >= moment, f"step {moment}")
    last = run.attempt()
    blow(run, chance)
    if blow is cloud_run.ray_job_stop:
        run.submit("--retry-forever")
    run.until_it_trains(last)
