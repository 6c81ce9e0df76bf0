"""From the kill of a rank to the next useful step, beside the typed command to the first step, of the same run.

Each round starts the quickstart (caches warm), lets it train until its standbys have had time to import, kills a rank,
and ends it after the next attempt's first step: both times, and so their ratio, are of one run on one machine at one
time. Where the time goes is from the journal's `startup_phases` of the second attempt.
"""

import statistics
import tempfile
import time
from pathlib import Path
from random import Random
from typing import Any

import typer

from benchmarks.harness import journal, save, spread
from launcher.core.drill import first_step_after
from launcher.orchestration.drill import Drill
from launcher.orchestration.drilled_command import Command
from launcher.orchestration.faults import fault

TRAINED_S = 20.0
"""Before the kill: standbys import at low priority from the second step on, 8 s of a quiet core."""
TARGET = 1 / 3


def options(steps: int) -> list[str]:
    """Return the options of a quickstart with so many steps in its last stage, and none to speak of before."""
    lengths = [f"--set=stages.{stage}.length.steps={count}" for stage, count in enumerate((1, 1, steps))]
    return [*lengths, "--set=evaluate.every=100000 steps", "--set=checkpoint.every=10 steps"]


def measure(drill: Drill, name: str, way: str, chance: Random) -> dict[str, Any]:
    """Start, kill, and wait for the next step; return the times."""
    typed = time.time()
    with drill.begun(name) as command:
        command.until(lambda: command.latest("step", "step") > 0, "the first step")
        time.sleep(TRAINED_S + chance.uniform(0.0, 2.0))
        command.look(now=True)
        last, killed = command.latest("step", "step"), time.time()
        assert fault(way).strike(command.living, chance), "there was nobody to kill"
        command.until(lambda: useful(command, last), "a step beyond those that were done")
        events = command.events()
        beyond = useful(command, last)
    again = first_step_after(events, 1)
    assert beyond is not None and again is not None, "waited for"
    start = next(event for event in events if event["event"] == "step")["time"] - typed
    back = beyond["time"] - killed
    phases = journal(drill.folder / name, "startup_phases")[-1]["phases"]
    return {"start_s": start, "first_step_again_s": again["time"] - killed, "useful_step_s": back,
            "ratio": back / start, "redone": last - again["step"] + 1, "phases": phases}


def useful(command: Command, last: int) -> dict[str, Any] | None:
    """Return the first step that the next attempt did and the killed one had not journalled."""
    events = command.events()
    known = max([last, *(event["step"] for event in events if event["event"] == "step" and event["attempt"] == 1)])
    return next((event for event in events if event["event"] == "step" and event["attempt"] > 1
                 and event["step"] > known), None)


def main(rounds: int = 5, way: str = "a rank killed", steps: int = 2000) -> None:
    """Run the rounds and print medians; the first run only fills the cache."""
    found: list[dict[str, Any]] = []
    chance = Random(0)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        Drill(folder, "quickstart", ["--cache", str(folder / "cache"), *options(2)]).unbroken("warm")
        drill = Drill(folder, "quickstart", ["--cache", str(folder / "cache"), *options(steps)])
        for number in range(rounds):
            found.append(measure(drill, f"run{number}", way, chance))
            print({name: round(value, 2) for name, value in found[-1].items() if name != "phases"}, flush=True)
            print("  ", found[-1]["phases"], flush=True)
    for name in ("start_s", "first_step_again_s", "useful_step_s", "ratio"):
        print(f"{name:20} {spread([each[name] for each in found])}")
    met = statistics.median(each["ratio"] for each in found) <= TARGET
    print(f"target {TARGET:.2f}: {'met' if met else 'NOT met'}")
    print(save("recovery", {"way": way, "rounds": found, "met": met}))


if __name__ == "__main__":
    typer.run(main)
