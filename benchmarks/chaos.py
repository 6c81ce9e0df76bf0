"""Campaign: the quickstart hurt in random ways at random moments, several times in each run, and compared at its end.

Two kinds of runs: on this machine with two workers; and, with `--walk`, on a cluster of simulated nodes of which chance
leaves one to three after each fault, so that the number of workers walks. Each run's faults and moments follow from its
seed, which is logged with what came of them. After each run: the rows of the unbroken run, its losses, evaluations and
final weights bit for bit, the ledger proven, no process left. Where the number of workers changed, from there on losses
within twice what unbroken runs on other numbers of workers differ by: rounding, which training lets grow. Resumable:
what is in the results file is not done again. Usage: python -m benchmarks.chaos --count 100
"""

import json
import os
import secrets
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

import typer

from benchmarks.drains import have_whole
from benchmarks.harness import RESULTS, save
from benchmarks.machines import why_not
from benchmarks.node_faults import NodeFaults, Walk
from benchmarks.ray_nodes import ADDRESS, RayNodes, environment
from launcher.core.drill import shortened
from launcher.orchestration.drill import Drill
from launcher.orchestration.faults import FAULTS, Fault
from launcher.storage.journal import read_journal

NAME = "chaos"
WHOLE = "whole"
STEPS, EVERY = 36, 5
"""Of each of the three stages, and between checkpoints."""
LONGER = 60
"""The same where nodes come and go, which takes seconds each time."""
AT_ONCE = {False: 4, True: 8}
"""Faults in each run, on one machine and on a walk: that one begins and ends more slowly."""
NODES = 3
MACHINE, WALK = "one machine", "nodes come and go"
"""Kinds of trials. Those without a name are of the first."""


def hurt(drill: Drill, faults: Sequence[Fault], seed: int, count: int, kind: str,
         resized: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Hurt a run so many times; return what was done and what came of it."""
    chance = Random(seed)
    chosen = [chance.choice(faults) for _ in range(count)]
    name = f"run{seed}"
    trials = drill.hurt(name, WHOLE, chosen, chance, resized)
    sizes = [event["world_size"] for event in read_journal(drill.run_dir(name)) if event["event"] == "attempt_started"]
    if not trials[-1].problems:
        drill.forget(name)
    return [{"seed": seed, "kind": kind, **asdict(trial), "world_sizes": sizes} for trial in trials]


def summary(done: list[dict[str, Any]]) -> dict[str, Any]:
    """Return counts and medians by what was done, and the steps of the walk."""
    told: dict[str, Any] = {"faults": len(done), "runs": len({trial["seed"] for trial in done}),
                            "not identical": sum(bool(trial["problems"]) for trial in done),
                            WALK: sum(trial.get("kind") == WALK for trial in done)}
    walks = {trial["seed"]: trial["world_sizes"] for trial in done if trial.get("kind") == WALK}
    attempts = Counter(size for walk in walks.values() for size in walk)
    told["attempts by number of workers"] = dict(sorted(attempts.items()))
    for name, count in Counter(trial["done"] for trial in done).most_common():
        back = [trial["recovery"]["restarted_s"] for trial in done if trial["done"] == name
                and trial["recovery"]["restarted_s"] is not None]
        told[name] = {"count": count, "median s to the next step": round(median(back), 2) if back else None}
    return told


@contextmanager
def here(place: Path) -> Generator[Callable[[int, int], list[dict[str, Any]]]]:
    """Give what hurts a run of two workers on this machine, from a seed and so many times."""
    drill = Drill(place, "quickstart", ["--cache", str(place / "cache"), *_set(*shortened(3, STEPS, EVERY))])
    drill.unbroken(WHOLE)
    yield lambda seed, count: hurt(drill, FAULTS, seed, count, MACHINE)


def wishing(place: Path, nodes: int) -> list[str]:
    """Return the options of a run that wants so many nodes and takes what there is."""
    wish = f"cluster={{nodes: {nodes}, gpus_per_node: 1, min_nodes: 1}}"
    return ["--cache", str(place / "cache"), "--address", ADDRESS, *_set(*shortened(3, LONGER, EVERY), wish)]


@contextmanager
def walking(place: Path) -> Generator[Callable[[int, int], list[dict[str, Any]]]]:
    """Give what hurts a run on a cluster whose nodes come and go. Needs root."""
    if reason := why_not():
        raise SystemExit(f"skipped: {reason}")
    os.environ.update(environment())
    with RayNodes(NODES) as cluster:
        walk = Walk(NodeFaults(cluster), NODES)
        names = {NODES: WHOLE} | {nodes: f"{WHOLE}-{nodes}" for nodes in range(1, NODES)}
        drills = {nodes: Drill(place, "quickstart", wishing(place, nodes), cluster.ground()) for nodes in names}
        for nodes, drill in drills.items():
            have_whole(drill, names[nodes])

        def begin(seed: int, count: int) -> list[dict[str, Any]]:
            walk.begin(seed)
            return hurt(drills[NODES], walk.all(), seed, count, WALK, [names[nodes] for nodes in range(1, NODES)])

        yield begin


def main(count: int = 100, minutes: float = 1e6, folder: Path | None = None, walk: bool = False) -> None:
    """Do what is missing, write after each run, and keep every run that is not as the unbroken one."""
    file = RESULTS / f"{NAME}.json"
    done: list[dict[str, Any]] = json.loads(file.read_text())["trials"] if file.exists() else []
    place = folder or Path(tempfile.mkdtemp(prefix="chaos-"))
    with (walking if walk else here)(place) as begin:
        end = time.monotonic() + 60.0 * minutes
        while len(done) < count and time.monotonic() < end:
            trials = begin(secrets.randbelow(2**32), min(AT_ONCE[walk], count - len(done)))
            done += trials
            print(*trials, sep="\n", flush=True)
            save(NAME, {"steps": {MACHINE: 3 * STEPS, WALK: 3 * LONGER}, "summary": summary(done), "trials": done})
    bad = [trial["seed"] for trial in done if trial["problems"]]
    assert not bad, f"not as the unbroken run: seeds {bad}, kept in {place}"


def _set(*overrides: str) -> list[str]:
    return [word for each in overrides for word in ("--set", each)]


if __name__ == "__main__":
    typer.run(main)
