"""Goodput of the quickstart's model under steady SIGKILLs of random ranks, beside the bound that its own figures allow.

One rank is killed in each period of 2 minutes, or of 5, at a uniformly random moment of it: the rate is exact, and
moments fall anywhere between two checkpoints. Wall time counts from the first step of the last stage on, which comes
two steps after the run's first, to the first useful step after the last kill; `benchmarks.useful` says what is useful.
The bound is 1 - stall/tau - tau/2M - R/M with everything measured in the same runs: tau between saves, M wall time
over kills, R from a kill to the next attempt's first step, stall what the step after a save takes longer.
Measured in runs of some minutes, each logged with its seed. Resumable: what is in the results file is not done again.
Usage: python -m benchmarks.goodput [--rate 120] [--minutes 10] [--runs 1]
"""

import json
import secrets
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any

import typer

from benchmarks.harness import RESULTS, save
from benchmarks.useful import attempt_at, bound, next_useful, stretch
from launcher.orchestration.drill import Drill
from launcher.orchestration.drilled_command import Command
from launcher.orchestration.faults import fault

NAME = "goodput"
MINUTES = {120: 10.0, 300: 20.0}
"""Of wall time for each rate, by seconds between kills."""
EVERY = "3s"
"""Between checkpoints: about sqrt(2 x stall x M) for both rates."""
STEPS = 20_000
"""Of the last stage: more than are done in half an hour, and the sources repeat less than a plan may ask for."""
FIRST = 3
"""The last stage's first step, after two stages of one step that end with evaluations."""


def quickstart(folder: Path) -> Drill:
    """Return the quickstart made long."""
    lengths = [f"--set=stages.{stage}.length.steps={count}" for stage, count in enumerate((1, 1, STEPS))]
    return Drill(folder, "quickstart", ["--cache", str(folder / "cache"), *lengths,
                                        f"--set=evaluate.every={STEPS} steps", f"--set=checkpoint.every={EVERY}"])


def moments(period_s: float, periods: int, chance: Random) -> list[float]:
    """Return when to kill, in seconds from the beginning: once in each period."""
    return [period_s * (number + chance.random()) for number in range(periods)]


def hurt(drill: Drill, period_s: int, periods: int, seed: int) -> dict[str, Any]:
    """Train for some periods with a kill in each; return what came of it."""
    chance, name = Random(seed), f"run{seed}"
    with drill.begun(name) as command:
        command.until(lambda: command.latest("step", "step") >= FIRST, "the last stage")
        begin = time.time()
        kills = [kill(command, begin + moment, chance) for moment in moments(period_s, periods, chance)]
        wait(command, begin + periods * period_s)
        while not next_useful(events := command.events(), attempt_at(events, kills[-1])):
            wait(command, time.time() + 1.0)
    end = max(event["time"] for event in events if event["event"] == "step")
    found = stretch(events, kills, FIRST, end)
    drill.forget(name)
    return {"seed": seed, "kills": [round(moment - begin, 2) for moment in kills], **asdict(found)}


def kill(command: Command, moment: float, chance: Random) -> float:
    """Kill a rank at a moment, or as soon as there is one; return when."""
    wait(command, moment)
    while True:
        command.look(now=True)
        now = time.time()
        if fault("a rank killed").strike(command.living, chance):
            return now
        wait(command, now + 0.1)


def wait(command: Command, until: float) -> None:
    """Wait without looking at the journal: reading one of thousands of steps would cost what is measured."""
    while (left := until - time.time()) > 0:
        assert command.exit_code() is None, f"the run ended: {command.said()}"
        time.sleep(min(left, 1.0))


def summary(runs: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return goodput over all runs, the bound, and what the bound is made of."""
    total = {name: sum(run[name] for run in runs) for name in ("wall", "useful", "redone", "down", "before",
                                                               "useful_before")}
    mean = {name: fmean(run[name] for run in runs) for name in ("usual", "stall", "every")}
    kills = sum(len(run["kills"]) for run in runs)
    wall, recovery = total["wall"], total["down"] / kills
    return {"goodput": total["useful"] / wall, "bound": bound(mean["stall"], mean["every"], wall / kills, recovery),
            "wall_s": wall, "kills": kills, "between_kills_s": wall / kills, "recovery_s": recovery,
            "stall_s": mean["stall"], "between_saves_s": mean["every"], "usual_step_s": mean["usual"],
            "lost to steps redone": total["redone"] / wall, "lost to recovery": total["down"] / wall,
            "goodput until the first kill": total["useful_before"] / total["before"]}


def main(rate: int = 0, minutes: float = 0.0, runs: int = 1000, longest: float = 300.0,
         folder: Path | None = None) -> None:
    """Do what is missing of one rate, or of both; write after each run.

    `rate`: seconds between kills. `minutes`: wall time of each rate, 10 and 20 unless said. `runs`: at most so many.
    `longest`: seconds of a run, unless a single period is longer.
    """
    file = RESULTS / f"{NAME}.json"
    known: dict[str, Any] = json.loads(file.read_text())["rates"] if file.exists() else {}
    with tempfile.TemporaryDirectory() as temporary:
        drill = quickstart(folder or Path(temporary))
        for period_s in [rate] if rate else MINUTES:
            each = known.setdefault(str(period_s), {"runs": []})
            while runs and sum(run["wall"] for run in each["runs"]) < 60.0 * (minutes or MINUTES[period_s]):
                each["runs"].append(hurt(drill, period_s, max(1, int(longest // period_s)), secrets.randbelow(2**32)))
                each["summary"] = summary(each["runs"])
                runs -= 1
                print(each["runs"][-1], {key: round(value, 4) for key, value in each["summary"].items()}, sep="\n")
                print(save(NAME, {"checkpoint every": EVERY, "rates": known}), flush=True)


if __name__ == "__main__":
    typer.run(main)
