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
from launcher.storage.store import open_store
from tests.platforms import cloud_run
from tests.platforms.a_cloud import ROOT, Cloud
from tests.platforms.cloud_run import NODES, Blow, CloudRun, Trouble, recipe, unbroken
from tests.storage.s3_relay import KINDS

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not() or "it is possible")

STEPS, EVERY = 600, 20
ROUNDS, MOMENTS = 5, 2
"""Of the campaign: runs of each kind, and how often each is hurt."""
QUICK = tuple(kind for kind in KINDS if kind != "stalled")
"""A stalled request costs 20 s until it is given up: one is enough where time counts."""
API = ("/api/jobs/", "/nodes?view=summary", "/nodes?view=details", "/nodes?view=hostNameList", "/logical/actors",
       "/api/cluster_status", "/api/cluster_metadata", "/api/v0/logs", "/events", "/api/serve/applications/",
       *(f"/api/v0/{kind}?detail=1&limit=1000" for kind in ("actors", "jobs", "nodes", "workers", "tasks", "objects",
                                                            "placement_groups", "runtime_envs", "cluster_events")))


@pytest.fixture
def cloud(moto, bucket) -> Iterator[Cloud]:
    """The cloud with a cluster. This process itself asks the bucket where nothing goes wrong."""
    with Cloud(moto, bucket.name) as made:
        made.start_cluster(NODES)
        yield made


def search(run: CloudRun) -> None:
    """Look for secrets in everything that the run's people, the cluster's people and the bucket's people can read."""
    cloud, told = run.cloud, ""
    for path in (*API, *(f"/api/jobs/{job}{more}" for job in cloud.jobs() for more in ("", "/logs"))):
        answer = cloud.ask(path)
        cloud.search(path, answer.encode())
        told += answer
    assert "RAY_JOB_STOP_WAIT_TIME_S" in told and "RayNodeAgent" in told, "the answers do tell of jobs and agents"
    everything = open_store(f"s3://{cloud.bucket}")
    for key in everything.list():
        cloud.search(key, everything.get(key))
    cloud.search_disks()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_run_outlives_its_driver_its_job_a_raylet_and_the_head_and_tells_no_secret(cloud, tmp_path) -> None:
    seed = time.time_ns() % 2**32
    print(f"seed {seed}")
    chance = Random(seed)
    for machine in (cloud.head, *cloud.nodes):
        assert not any(cloud.writes(machine, place) for place in ("/tmp", "/var/tmp", str(ROOT), str(Path.home())))
    whole = unbroken(tmp_path, recipe(STEPS, EVERY))
    run = CloudRun(cloud, tmp_path, recipe(STEPS, EVERY), Trouble(seed, QUICK, ("PUT", "-rank-", "stalled")))

    run.plain()
    run.until_it_trains(0)
    cloud_run.kill_uploader(run, chance)
    run.until_it_trains(1)
    cloud_run.kill_driver(run, chance)
    code, printed = run.ended()
    assert code != 0, printed
    last = run.attempt()
    run.plain()
    run.until_it_trains(last)
    cloud_run.ray_job_stop(run, chance)
    last = run.attempt()
    run.submit("--retry-forever")
    run.until_it_trains(last)
    cloud_run.kill_raylet(run, chance)
    run.until_it_trains(last + 1)
    cloud_run.lose_head(run, chance)
    code, printed = run.ended()
    assert code == 0, printed[-4000:]
    assert run.problems(whole) == []

    run.plain()
    code, printed = run.ended()
    assert code == 0 and "is finished already" in printed
    resumed = [event["resume"] for event in run.events("attempt_started")]
    assert resumed[0] is None and sorted(resumed[1:]) == resumed[1:], resumed
    search(run)
    assert cloud.leaks == []


@pytest.mark.campaign
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("blow", [cloud_run.ray_job_stop, cloud_run.kill_raylet, cloud_run.lose_power,
                                  cloud_run.lose_head, cloud_run.kill_driver, cloud_run.kill_uploader, None],
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
        found[seed] = run.problems(whole) if code == 0 else [printed[-4000:]]
        print(f"{blow.__name__ if blow else 'no blow'}, seed {seed}: {run.attempt()} attempts, "
              f"{len(cloud.relay.asked)} requests so far, {found[seed] or 'to the last bit'}", flush=True)
    assert not any(found.values()), found
    assert cloud.leaks == []


def hurt(run: CloudRun, blow: Blow, moment: int, chance: Random) -> None:
    """Hurt a run once it has reached a step, and wait until it trains again."""
    run.until(lambda: run.reached() >= moment, f"step {moment}")
    last = run.attempt()
    blow(run, chance)
    if blow is cloud_run.ray_job_stop:
        assert run.ended()[0] == 75
        run.submit("--retry-forever")
    run.until_it_trains(last)
