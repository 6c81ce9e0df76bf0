"""Campaign: the quickstart hurt from inside its processes: hangs, exceptions, NaN, saves that fail, full disks.

Each way of `benchmarks.inner_scenes` three times, each time with a seed that is printed and from which what is drawn
follows. Resumable: what went well is not done again, what did not is tried again with its seed. Usage:
python -m benchmarks.inner_faults --minutes 5 --only 'disk|NaN'
"""

import json
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Any

import typer

from benchmarks.breaking import Broken, Place
from benchmarks.harness import RESULTS, save
from benchmarks.inner_scenes import EVERY, SCENES, STEPS, WHOLE, Scene
from launcher.core.drill import shortened
from launcher.orchestration.drilled_command import NotRight
from launcher.storage.run_start import last_end

NAME = "inner_faults"
TIMES = 3

Trial = dict[str, Any]


def missing(done: list[Trial], only: str) -> Iterator[tuple[Scene, int]]:
    """Yield what is still to be done, one of each scene before the second of any: the scene and the seed."""
    again = [trial for trial in done if trial["problems"]]
    done[:] = [trial for trial in done if not trial["problems"]]
    for number in range(TIMES):
        for scene in SCENES:
            if re.search(only, scene.name) and sum(trial["scene"] == scene.name for trial in done) <= number:
                failed = next((trial for trial in again if trial["scene"] == scene.name), None)
                if failed is not None:
                    again.remove(failed)
                yield scene, failed["seed"] if failed else secrets.randbelow(10**6)


def tried(place: Place, scene: Scene, seed: int) -> Trial:
    """Do a scene once; return what is kept of it. The run stays if anything is wrong with it."""
    name, begin = f"run{seed}", time.monotonic()
    # Of an earlier try, which was kept because something was wrong with it.
    shutil.rmtree(place.folder / f"{name}-faults", ignore_errors=True)
    place.drill().forget(name)
    try:
        became = scene.act(place, name, Random(seed))
    except NotRight as error:
        became = Broken(place.fired(name), problems=[str(error)])
    if not became.problems:
        place.drill().forget(name)
    return {"scene": scene.name, "seed": seed, **asdict(became), "seconds": round(time.monotonic() - begin, 1)}


def summary(done: list[Trial]) -> dict[str, Any]:
    """Return counts, and how long hangs took to be found."""
    told: dict[str, Any] = {"trials": len(done), "with problems": sum(bool(trial["problems"]) for trial in done)}
    for scene in SCENES:
        mine = [trial for trial in done if trial["scene"] == scene.name]
        found = [round(trial["found_s"], 1) for trial in mine if trial["found_s"] is not None]
        told[scene.name] = {"trials": len(mine)} | ({"found in, s": found} if found else {})
    return told


def main(minutes: float = 1e6, only: str = "", folder: Path | None = None) -> None:
    """Do what is missing, write after each, and keep every run that is not as it must be."""
    file = RESULTS / f"{NAME}.json"
    done: list[Trial] = json.loads(file.read_text())["trials"] if file.exists() else []
    where = folder or Path(tempfile.mkdtemp(prefix="inner-"))
    where.mkdir(exist_ok=True)
    options = [word for each in shortened(3, STEPS, EVERY) for word in ("--set", each)]
    place = Place(where, "quickstart", ("--cache", str(where / "cache"), *options))
    end = time.monotonic() + 60.0 * minutes
    if last_end(place.drill().run_dir(WHOLE)) is None:
        place.drill().unbroken(WHOLE)
    for scene, seed in missing(done, only):
        if time.monotonic() > end:
            break
        print(f"{scene.name}: seed {seed}", flush=True)
        done.append(tried(place, scene, seed))
        print(done[-1], flush=True)
        save(NAME, {"steps": 3 * STEPS, "summary": summary(done), "trials": done})
    bad = [trial["seed"] for trial in done if trial["problems"]]
    assert not bad, f"not as they must be: seeds {bad}, kept in {where}"


if __name__ == "__main__":
    typer.run(main)
