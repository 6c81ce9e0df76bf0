"""Campaign: the quickstart hurt in random ways at random moments, several times in each run, and compared at its end.

Each run's faults and moments follow from its seed, which is logged with what came of them. After each run: the final
weights, losses, rows and evaluations of the unbroken run bit for bit, the ledger proven, no process and no folder left.
Resumable: what is in the results file is not done again. Usage: python -m benchmarks.chaos --count 100
"""

import json
import secrets
import tempfile
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

import typer

from benchmarks.harness import RESULTS, save
from launcher.core.drill import shortened
from launcher.orchestration.drill import Drill
from launcher.orchestration.faults import FAULTS

NAME = "chaos"
WHOLE = "whole"
STEPS, EVERY = 36, 5
"""Of each of the three stages, and between checkpoints."""
AT_ONCE = 4
"""Faults in each run."""


def hurt(drill: Drill, seed: int, faults: int) -> list[dict[str, Any]]:
    """Hurt a run so many times; return what was done and what came of it."""
    chance = Random(seed)
    chosen = [chance.choice(FAULTS) for _ in range(faults)]
    name = f"run{seed}"
    trials = drill.hurt(name, WHOLE, chosen, chance)
    if not trials[-1].problems:
        drill.forget(name)
    return [{"seed": seed, **asdict(trial)} for trial in trials]


def summary(done: list[dict[str, Any]]) -> dict[str, Any]:
    """Return counts and medians by what was done."""
    told: dict[str, Any] = {"faults": len(done), "runs": len({trial["seed"] for trial in done}),
                            "not identical": sum(bool(trial["problems"]) for trial in done)}
    for name, count in Counter(trial["done"] for trial in done).most_common():
        back = [trial["recovery"]["restarted_s"] for trial in done if trial["done"] == name
                and trial["recovery"]["restarted_s"] is not None]
        told[name] = {"count": count, "median s to the next step": round(median(back), 2) if back else None}
    return told


def main(count: int = 100, minutes: float = 1e6, folder: Path | None = None) -> None:
    """Do what is missing, write after each run, and keep every run that is not as the unbroken one."""
    file = RESULTS / f"{NAME}.json"
    done: list[dict[str, Any]] = json.loads(file.read_text())["trials"] if file.exists() else []
    place = folder or Path(tempfile.mkdtemp(prefix="chaos-"))
    options = [word for each in shortened(3, STEPS, EVERY) for word in ("--set", each)]
    drill = Drill(place, "quickstart", ["--cache", str(place / "cache"), *options])
    end = time.monotonic() + 60.0 * minutes
    drill.unbroken(WHOLE)
    while len(done) < count and time.monotonic() < end:
        trials = hurt(drill, secrets.randbelow(2**32), min(AT_ONCE, count - len(done)))
        done += trials
        print(*trials, sep="\n", flush=True)
        save(NAME, {"steps": 3 * STEPS, "summary": summary(done), "trials": done})
    bad = [trial["seed"] for trial in done if trial["problems"]]
    assert not bad, f"not as the unbroken run: seeds {bad}, kept in {place}"


if __name__ == "__main__":
    typer.run(main)
