"""Runs on a cluster of simulated nodes, each hurt in one way at three random moments, compared with the unbroken one.

Twice: with a node to spare, so that the number of workers stays and the end is the same to the last bit; and with all
nodes in use, so that a lost one shrinks the run until it is back, and losses may differ by rounding. After each run the
ledger is proven and no process is left. Which nodes, ranks and moments follows from the run's seed, which is printed.
Resumable: what is in the results file is not done again; `--at-once 1` makes each run a short one of one moment. Needs
root. Usage: python -m benchmarks.nodes --minutes 5
"""

import json
import os
import secrets
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

import numpy as np
import typer
from safetensors.numpy import load_file

from benchmarks.harness import RESULTS, save
from benchmarks.machines import why_not
from benchmarks.node_faults import NodeFaults
from benchmarks.ray_nodes import ADDRESS, RayNodes, environment
from launcher.core.drill import shortened
from launcher.core.ledger import surviving
from launcher.orchestration.drill import Drill
from launcher.orchestration.faults import Fault
from launcher.storage.journal import read_journal
from launcher.storage.run_dir import RunDir

NAME = "nodes"
NODES = 3
"""Machines besides the head, each with room for one worker."""
STEPS, EVERY = 40, 5
"""Of each of the three stages, and between checkpoints."""
MOMENTS = 3
SHRINKING = ("a node's raylet killed", "a node without power", "a node's network cut")
"""What takes a node away: tried without a spare too."""


def options(folder: Path, nodes: int) -> list[str]:
    """Return the options of a short quickstart that wants so many nodes and takes what there is."""
    settings = (*shortened(3, STEPS, EVERY), f"cluster={{nodes: {nodes}, gpus_per_node: 1, min_nodes: 1}}")
    return ["--cache", str(folder / "cache"), "--address", ADDRESS,
            *(word for each in settings for word in ("--set", each))]


def wanted(faults: Sequence[Fault]) -> list[tuple[Fault, int]]:
    """Return every way to hurt a run, and on how many of the nodes."""
    return [*((fault, NODES - 1) for fault in faults), *((fault, NODES) for fault in faults if fault.name in SHRINKING)]


def apart(whole: RunDir, hurt: RunDir) -> dict[str, float]:
    """Return by how much, relative to the largest, losses and weights of two finished runs differ at most."""
    one, other = ({event["step"]: event["loss"] for event in surviving(list(read_journal(run)))}
                  for run in (whole, hurt))
    losses = max(abs(one[step] - other[step]) / abs(one[step]) for step in one)
    ours, theirs = (load_file(run.path / run.MODEL / "model.safetensors") for run in (whole, hurt))
    weights = max(float(np.abs(ours[name] - theirs[name]).max() / np.abs(ours[name]).max()) for name in ours)
    return {"losses": losses, "weights": weights}


def missing(done: Sequence[dict[str, Any]], fault: Fault, nodes: int) -> int:
    """Return how many moments are still to be tried."""
    tried = (len(each["moments"]) for each in done if (each["fault"], each["nodes"]) == (fault.name, nodes))
    return MOMENTS - sum(tried)


def hurt(drill: Drill, faults: Sequence[Fault], nodes: int, seed: int) -> dict[str, Any]:
    """Hurt a run in one way, once or several times; return what came of it."""
    fault = faults[0]
    name, whole = f"{fault.name.replace(' ', '-').replace(chr(39), '')}-{nodes}-{seed}", f"whole-{nodes}"
    trials = drill.hurt(name, whole, faults, Random(seed))
    run = drill.run_dir(name)
    sizes = [event["world_size"] for event in read_journal(run) if event["event"] == "attempt_started"]
    problems = trials[-1].problems
    told = {"fault": fault.name, "nodes": nodes, "seed": seed, "world sizes": sizes, "problems": problems,
            "same number of workers": set(sizes) == {nodes},
            "moments": [{"step": trial.step, **asdict(trial.recovery)} for trial in trials],
            "seconds": trials[-1].seconds, "apart": None if problems else apart(drill.run_dir(whole), run)}
    if not problems:
        drill.forget(name)
    return told


def row(each: dict[str, Any]) -> str:
    """Return one line of the table."""
    found, back = ([moment[name] for moment in each["moments"] if moment[name] is not None]
                   for name in ("found_s", "restarted_s"))
    verdict = "NO" if each["problems"] else "to the last bit" if each["same number of workers"] else (
        f"losses within {each['apart']['losses']:.0e}")
    return (f"{each['fault']:27} of {each['nodes']} nodes, seed {each['seed']:10}: found in {_s(found)}, a step in "
            f"{_s(back)}, workers {each['world sizes']}: {verdict}")


def _s(values: list[float]) -> str:
    return f"{median(values):.1f} s" if values else "-"


def main(minutes: float = 1e6, folder: Path | None = None, only: str = "", at_once: int = MOMENTS) -> None:
    """Do what is missing, write after each run, and keep every run that is not as the unbroken one."""
    if reason := why_not():
        raise SystemExit(f"skipped: {reason}")
    file = RESULTS / f"{NAME}.json"
    done: list[dict[str, Any]] = json.loads(file.read_text())["runs"] if file.exists() else []
    place = folder or Path(tempfile.mkdtemp(prefix="nodes-runs-"))
    os.environ.update(environment())
    with RayNodes(NODES) as cluster:
        faults, end = NodeFaults(cluster), time.monotonic() + 60.0 * minutes
        for fault, nodes in wanted(faults.all()):
            count = min(at_once, missing(done, fault, nodes))
            if count <= 0 or only not in fault.name or time.monotonic() > end:
                continue
            drill = Drill(place, "quickstart", options(place, nodes), cluster.ground())
            if not (drill.run_dir(f"whole-{nodes}").path / RunDir.MODEL).exists():
                drill.forget(f"whole-{nodes}")  # One that an earlier call could not finish.
                drill.unbroken(f"whole-{nodes}")
            done.append(hurt(drill, [fault] * count, nodes, secrets.randbelow(2**32)))
            print(row(done[-1]), *done[-1]["problems"], sep="\n  ", flush=True)
            save(NAME, {"steps": 3 * STEPS, "runs": done})
            faults.mend()
    bad = [each["seed"] for each in done if each["problems"]]
    print(f"{len(done)} runs, {sum(len(each['moments']) for each in done)} faults, {len(bad)} not as the unbroken run")
    assert not bad, f"not as the unbroken run: seeds {bad}, kept in {place}"


if __name__ == "__main__":
    typer.run(main)
