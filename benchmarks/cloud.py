"""Runs in a bucket on Ray clusters whose machines share only the network, each hurt in one way at random moments.

One request in five to the bucket goes wrong all the while; in runs that are hurt in no other way, some of them also
stall until they are given up. Each run has a cloud of its own (`tests.platforms.a_cloud`), is compared with the
unbroken one to the last bit, has its ledger proven, and what people can read is searched for planted secrets. Seeds are
printed. Resumable: what is in the results file is not done again. Needs root.
Usage: python -m benchmarks.cloud --count 40
"""

import json
import secrets
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest
import typer

from benchmarks.harness import RESULTS, save
from benchmarks.machines import why_not
from launcher.storage.run_dir import RunDir
from tests.data.reading.servers import s3_server
from tests.platforms import cloud_run
from tests.platforms.a_cloud import Cloud
from tests.platforms.cloud_run import NODES, Blow, CloudRun, Trouble, recipe, unbroken
from tests.storage.a_bucket import a_bucket
from tests.storage.s3_relay import KINDS

NAME = "cloud"
STEPS, EVERY = 900, 25
MOMENTS = 2
"""How often a run is hurt."""
WAYS: dict[str, Blow | None] = {blow.__name__.replace("_", " "): blow for blow in cloud_run.BLOWS} | {
    "the bucket alone, stalls too": None}
QUICK = tuple(kind for kind in KINDS if kind != "stalled")
"""A stalled request costs 20 s until it is given up."""


def hurt(run: CloudRun, blow: Blow, moment: int, chance: Random) -> None:
    """Hurt a run once it has reached a step, and wait until it trains again."""
    run.until(lambda: run.reached() >= moment, f"step {moment}")
    last = run.attempt()
    blow(run, chance)
    if blow is cloud_run.ray_job_stop:
        run.submit("--retry-forever")
    run.until_it_trains(last)


def play(run: CloudRun, blow: Blow | None, moments: list[int], whole: RunDir, seed: int) -> list[str]:
    """Have a run go through all of it; return in what its end is not as it must be."""
    try:
        run.submit("--retry-forever")
        if blow is not None:
            for moment in moments:
                hurt(run, blow, moment, Random(f"{seed} {moment}"))
        code, printed = run.ended()
        found = run.problems(whole) if code == 0 else [f"exit code {code}", printed[-4000:]]
        run.cloud.search()
    except (AssertionError, TimeoutError, subprocess.TimeoutExpired, OSError) as error:
        run.command.process.kill()
        return [f"{type(error).__name__}: {error}"[-4000:]]
    return found + run.cloud.secrets.seen


def trial(folder: Path, way: str, seed: int, whole: RunDir) -> dict[str, Any]:
    """Have one run go through one way of being hurt, in a cloud of its own; return what came of it."""
    blow, moments = WAYS[way], sorted(Random(seed).sample(range(5, STEPS // 2), MOMENTS))
    begun = time.monotonic()
    with (s3_server() as moto, pytest.MonkeyPatch.context() as patch, a_bucket(moto, patch) as bucket,
          Cloud(moto, bucket.name) as cloud):
        cloud.start_cluster(NODES)
        run = CloudRun(cloud, folder, recipe(STEPS, EVERY), Trouble(seed, QUICK if blow else KINDS), f"run-{seed}")
        problems = play(run, blow, moments, whole, seed)
        asked = list(cloud.relay.asked)
        return {"way": way, "seed": seed, "steps hurt": moments if blow else [], "attempts": run.attempt(),
                "requests": len(asked), "faults": dict(Counter(each.fault for each in asked if each.fault)),
                "seconds": round(time.monotonic() - begun), "problems": problems}


def row(each: dict[str, Any]) -> str:
    """Return one line of the table."""
    return (f"{each['way']:28} seed {each['seed']:10}: {each['attempts']} attempts, {each['requests']} requests of "
            f"which {sum(each['faults'].values())} went wrong, {each['seconds']} s: "
            f"{'NO' if each['problems'] else 'to the last bit'}")


def main(count: int = 40, minutes: float = 1e6, only: str = "") -> None:
    """Do what is missing, the ways in turn, and write after each run."""
    if reason := why_not():
        raise SystemExit(f"skipped: {reason}")
    file = RESULTS / f"{NAME}.json"
    done: list[dict[str, Any]] = json.loads(file.read_text())["runs"] if file.exists() else []
    folder, end = Path(tempfile.mkdtemp(prefix="cloud-runs-")), time.monotonic() + 60.0 * minutes
    whole = unbroken(folder, recipe(STEPS, EVERY))
    while len(done) < count and time.monotonic() < end:
        tried = Counter(each["way"] for each in done)
        way = min((name for name in WAYS if only in name), key=lambda name: tried[name])
        done.append(trial(folder, way, secrets.randbelow(2**32), whole))
        print(row(done[-1]), *done[-1]["problems"], sep="\n  ", flush=True)
        save(NAME, {"steps": STEPS, "runs": done}, ("s3fs", "moto"))
    bad = [each["seed"] for each in done if each["problems"]]
    print(f"{len(done)} runs, {sum(each['attempts'] for each in done)} attempts, {len(bad)} not as the unbroken run")
    assert not bad, f"not as the unbroken run: seeds {bad}"


if __name__ == "__main__":
    typer.run(main)
