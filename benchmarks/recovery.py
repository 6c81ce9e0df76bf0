"""From the kill of a rank to the next useful step, beside the typed command to the first step, of the same run.

launcher and two peers take turns within a round, each with its caches warm. A round starts one, lets it train as long
as launcher's standbys need to import, kills a rank half way between two checkpoints, where it costs the mean, and ends
it after the first step beyond those that were done before: both times, and so their ratio, are of one run on one
machine at one time. Where launcher's time goes is from the journal's `startup_phases` of the second attempt.
Resumable: rounds in the results file are kept, and `--fresh` forgets them.
Usage: python -m benchmarks.recovery --rounds 5
"""

import json
import statistics
import tempfile
import time
from pathlib import Path
from random import Random
from typing import Any

import typer

from benchmarks.contestants import EVERY, AtWork, Begin, launcher_run, peer, quickstart, ray_train, trl
from benchmarks.harness import RESULTS, journal, save, spread
from benchmarks.peer import DoesNotGoOn
from benchmarks.useful import next_useful
from launcher.core.drill import first_step_after

NAME = "recovery"
TRAINED_S = 20.0
"""Before the kill: standbys import at low priority from the second step on, 8 s of a quiet core."""
TARGET = 1 / 3
FIGURES = ("start_s", "first_step_again_s", "useful_step_s", "ratio")
Round = dict[str, dict[str, Any]]


def measure(begin: Begin, name: str, chance: Random) -> dict[str, Any]:
    """Start, kill, and wait for the next useful step; return the times."""
    typed = time.time()
    with begin(name) as at_work:
        at_work.until(lambda: done(at_work), "the first step")
        time.sleep(TRAINED_S + chance.uniform(0.0, 2.0))
        at_work.until(lambda: done(at_work) % EVERY == EVERY // 2, "the middle between two checkpoints")
        killed = time.time()
        at_work.hurt(chance)
        try:
            at_work.until(lambda: next_useful(at_work.events(), 1), "a step beyond those that were done")
        except DoesNotGoOn as error:
            return {"start_s": first(at_work) - typed, "failed": str(error)}
        events = at_work.events()
    beyond, again = next_useful(events, 1), first_step_after(events, 1)
    assert beyond is not None and again is not None, "waited for"
    start, back = first(at_work) - typed, beyond["time"] - killed
    return {"start_s": start, "first_step_again_s": again["time"] - killed, "useful_step_s": back,
            "ratio": back / start, "redone": beyond["step"] - again["step"]}


def done(at_work: AtWork) -> int:
    """Return the furthest step so far."""
    return max((event["step"] for event in at_work.events() if event["event"] == "step"), default=0)


def first(at_work: AtWork) -> float:
    """Return when the first step was done."""
    return next(event["time"] for event in at_work.events() if event["event"] == "step")


def one_round(contestants: dict[str, Begin], folder: Path, number: int, seed: int) -> Round:
    """Measure everybody, somebody else first each time."""
    names, found = list(contestants), Round()
    turn = number % len(names)
    for name in (*names[turn:], *names[:turn]):
        found[name] = measure(contestants[name], f"{name}{number}", Random(seed)) | {"seed": seed}
        print(f"round {number + 1}: {name}",
              {key: round(value, 2) for key, value in found[name].items() if isinstance(value, float)},
              found[name].get("failed", ""), flush=True)
    if "launcher" in found:
        found["launcher"]["phases"] = journal(folder / f"launcher{number}", "startup_phases")[-1]["phases"]
    return found


def report(rounds: list[Round]) -> dict[str, Any]:
    """Print medians, and ratios of launcher to each peer within a round; return them."""
    names = list(dict.fromkeys(name for each in rounds for name in each))
    good = {name: [each[name] for each in rounds if name in each and "failed" not in each[name]] for name in names}
    told: dict[str, Any] = {name: {figure: spread([each[figure] for each in good[name]]) for figure in FIGURES}
                            for name in names if good[name]}
    for name in names[1:]:
        both = [each for each in rounds if all(who in each and "failed" not in each[who] for who in (names[0], name))]
        if both:
            told[f"{names[0]} to {name}"] = {
                figure: spread([each[names[0]][figure] / each[name][figure] for each in both])
                for figure in FIGURES[:3]}
    for name, figures in told.items():
        print(name, *(f"  {figure:20} {value}" for figure, value in figures.items()), sep="\n")
    return told


def main(rounds: int = 5, way: str = "a rank killed", only: str = "", fresh: bool = False,
         folder: Path | None = None) -> None:
    """Run the rounds that are missing and print medians. `folder` keeps what was warmed; runs in it are overwritten.

    `only`: some contestants, by name, to try them; nothing is kept of that.
    """
    file = RESULTS / f"{NAME}.json"
    known = json.loads(file.read_text()) if file.exists() and not fresh and not only else {}
    found: list[Round] = [each for each in known.get("rounds", ()) if known["way"] == way and "launcher" in each]
    with tempfile.TemporaryDirectory() as temporary:
        place = folder or Path(temporary)
        contestants = ready(place, way)
        chosen = {name: contestants[name] for name in only.split(",")} if only else contestants
        while len(found) < rounds:
            found.append(one_round(chosen, place, len(found), seed=len(found)))
            told = report(found)
            if not only:
                keep(found, way, told)


def keep(rounds: list[Round], way: str, told: dict[str, Any]) -> None:
    """Write the results, and say whether the target is met."""
    met = statistics.median(each["launcher"]["ratio"] for each in rounds) <= TARGET
    print(f"target {TARGET:.2f}: {'met' if met else 'NOT met'}")
    print(save(NAME, {"way": way, "met": met, "figures": told, "rounds": rounds}, ("trl",)), flush=True)


def ready(folder: Path, way: str) -> dict[str, Begin]:
    """Return the contestants, after a short run of launcher: it fills the cache and leaves the model for the peers."""
    folder.mkdir(exist_ok=True)
    model = folder / "warm" / "model"
    if not model.exists():
        quickstart(folder, 2).unbroken("warm")
    return {"launcher": launcher_run(folder, way), "ray_train": peer(folder, model, ray_train),
            "trl": peer(folder, model, trl)}


if __name__ == "__main__":
    typer.run(main)
