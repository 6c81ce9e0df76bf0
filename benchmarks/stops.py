"""Campaign: a short quickstart that is asked to stop, in every phase and way, again and again until it has finished.

Each run is started with or without Ray, asked at a random moment of a drawn phase, continued by `launcher resume`,
asked again, and so on; what came of each is judged at once (`benchmarks.stop_trials`), and the finished run is compared
with the unbroken one: weights, losses, rows and evaluations bit for bit, the ledger proven. The last trial of a run is
in its export, or a SIGTERM to the node's agent alone, after which it goes on by itself. With `--drains` the runs are on
a cluster of simulated machines instead, of which one after the other is drained (`benchmarks.drains`). A run's phases,
ways and moments follow from its seed, which is logged. Resumable: what is in the results file is not done again.
Usage: python -m benchmarks.stops --count 100 --minutes 5
"""

import json
import os
import secrets
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from math import inf
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

import typer

from benchmarks.drains import Drains, have_whole
from benchmarks.harness import RESULTS, environment, save
from benchmarks.stop_moments import PHASES, Phase, Watched, await_moment, watched
from benchmarks.stop_trials import AGENT, Asked, draw, last_saved, stop
from launcher.core.drill import shortened
from launcher.core.errors import FINISHED
from launcher.orchestration.drill import Drill
from launcher.orchestration.drilled_command import Command, NotRight
from launcher.storage.run_dir import RunDir

NAME = "stops"
WHOLE = "whole"
STEPS, EVERY, EVALUATE = 12, 4, 9
"""Of each of the three stages; between checkpoints; between evaluations."""
HOLDOUT = "15%"
"""Of each source: measuring it takes long enough to be stopped in."""
IN_A_RUN = 5
"""Trials in each run."""
TOO_SHORT_S = 2.0
"""The longest of the graces that are drawn to be too short; some are enough."""


@dataclass(frozen=True, slots=True)
class Chain:
    """One run, stopped until it has finished."""

    drill: Drill
    name: str
    options: tuple[str, ...]
    ray: bool

    @property
    def run(self) -> RunDir:
        """Return the run."""
        return self.drill.run_dir(self.name)

    @contextmanager
    def started(self, cache: Path) -> Iterator[tuple[Command, Watched]]:
        """Start or resume the run; whatever happens inside, nothing of it is left."""
        folder, log = str(self.run.path), self.drill.folder / f"{self.name}.log"
        begun = self.run.store.exists(RunDir.PLAN)
        what = ("resume", folder) if begun else ("run", "quickstart", "--run-dir", folder, *self.options)
        words = (*what, "--cache", str(cache), *(() if self.ray else ("--without-ray",)))
        command, seen = watched(self.run, lambda: Command(words, self.run, log))
        try:
            yield command, seen
        finally:
            command.end()

    def asked(self, asked: Asked, chance: Random) -> Iterator[dict[str, Any]]:
        """Start the run and ask it to stop; yield what came of it, nothing if it had finished before that moment."""
        committed, cache = last_saved(self.run), self.drill.folder / "cache"
        if asked.phase == "preparing":
            cache = self.drill.folder / f"cache-{self.name}"
            shutil.rmtree(cache, ignore_errors=True)
        with self.started(cache) as (command, seen):
            if await_moment(asked.phase, command, seen, committed, chance):
                outcome = stop(command, seen, asked, committed, chance)
                if outcome is not None:
                    yield {**asdict(asked), **asdict(outcome)}
            if command.exit_code() is None and asked.way == AGENT:
                self._await_end(command)

    def finish(self) -> None:
        """Let the run go to its end. Raises NotRight if it does not get there."""
        with self.started(self.drill.folder / "cache") as (command, _):
            self._await_end(command)

    @staticmethod
    def _await_end(command: Command) -> None:
        command.until(lambda: command.exit_code() is not None, "the end of the run", may_end=True)
        if command.exit_code() != FINISHED:
            raise NotRight(f"the command ended with {command.exit_code()}: {command.said()}")


def played(drill: Drill, options: Sequence[str], seed: int, count: int, until: float = inf) -> list[dict[str, Any]]:
    """Stop a run so many times, fewer if the time is over, finish it and compare it; return what came of it."""
    chance, name = Random(seed), f"run{seed}"
    chain = Chain(drill, name, tuple(options), ray=chance.random() < 0.5)
    trials: list[dict[str, Any]] = []
    problems: list[str] = []
    try:
        for asked in drawn(chance, ray=chain.ray, count=count):
            if time.monotonic() < until:
                trials += chain.asked(asked, chance)
        chain.finish()
        problems = drill.compared(WHOLE, name)
    except NotRight as error:
        problems = [str(error)]
    bad = [*problems, *(problem for trial in trials for problem in trial["problems"])]
    if not bad:
        drill.forget(name)
    shutil.rmtree(drill.folder / f"cache-{name}", ignore_errors=True)
    return [{"seed": seed, "ray": chain.ray, **trial, "end": problems} for trial in trials]


def drawn(chance: Random, *, ray: bool, count: int) -> Iterator[Asked]:
    """Yield what a run is asked: distinct phases in any order, then one after which it may finish."""
    middle: list[Phase] = [phase for phase in PHASES if phase != "exporting"]
    for phase in chance.sample(middle, count - 1):
        yield draw(phase, chance, TOO_SHORT_S)
    if ray and chance.random() < 0.5:
        yield Asked(chance.choice(middle[2:]), AGENT)
    else:
        yield draw("exporting", chance, TOO_SHORT_S)


def summary(done: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return counts by phase and way, how many had time enough, and what that was."""
    killed = [trial for trial in done if trial["exit_code"] is None and trial["grace"] is not None]
    free = [trial["seconds"] for trial in done if trial["exit_code"] is not None and trial["deadline"] is None]
    return {"trials": len(done), "runs": len({trial["seed"] for trial in done}),
            "wrong": sum(bool(trial["problems"] or trial["end"]) for trial in done),
            "left by themselves": len(done) - len(killed), "killed when their time was over": len(killed),
            "seconds to leave, median and most": [round(median(free), 2), round(max(free), 2)] if free else None,
            "by phase": dict(Counter(trial["phase"] for trial in done)),
            "by way": dict(Counter(trial["way"] for trial in done)),
            "by exit code": dict(Counter(str(trial["exit_code"]) for trial in done))}


def options_of() -> list[str]:
    """Return the options of the short quickstart."""
    sources = [f"sources.{name}.holdout={HOLDOUT}" for name in ("counting", "sums", "stories")]
    settings = (*shortened(3, STEPS, EVERY)[:-1], f"evaluate.every={EVALUATE} steps", *sources)
    return [word for each in settings for word in ("--set", each)]


def told(trial: dict[str, Any]) -> str:
    """Return a trial as a line."""
    limit = trial["grace"] if trial["grace"] is not None else trial["deadline"]
    within = "" if limit is None else f" within {limit:.1f} s"
    verdict = "; ".join((*trial["problems"], *trial["end"])) or "right"
    return (f"seed {trial['seed']}, {trial['phase']} (seen: {trial['found_in']}): {trial['way']}{within}: exit "
            f"{trial['exit_code']} after {trial['seconds']:.1f} s, step {trial['step']}, saved {trial['committed']}: "
            f"{verdict}")


@contextmanager
def playing(place: Path, *, drains: bool, until: float) -> Iterator[Callable[[int], list[dict[str, Any]]]]:
    """Give what plays one run of a seed, and goes straight to its end once the time is over."""
    os.environ.update(environment())
    if drains:
        with Drains(place, options_of(), WHOLE) as cluster:
            yield lambda seed: cluster.played(seed, IN_A_RUN)
        return
    drill = Drill(place, "quickstart", ["--cache", str(place / "cache"), "--without-ray", *options_of()])
    have_whole(drill, WHOLE)
    yield lambda seed: played(drill, options_of(), seed, IN_A_RUN, until)


def main(count: int = 100, minutes: float = 1e6, folder: Path | None = None, drains: bool = False,
         seed: int | None = None) -> None:
    """Do what is missing, write after each run, and keep every run that is not as it must be."""
    file, end = RESULTS / f"{NAME}.json", time.monotonic() + 60.0 * minutes
    done: list[dict[str, Any]] = json.loads(file.read_text())["trials"] if file.exists() else []
    place = folder or Path(tempfile.mkdtemp(prefix="stops-"))
    with playing(place, drains=drains, until=end) as play:
        while len(done) < count and time.monotonic() < end:
            done += (trials := play(secrets.randbelow(2**32) if seed is None else seed))
            print(*map(told, trials), sep="\n", flush=True)
            save(NAME, {"summary": summary(done), "trials": done})
    bad = sorted({trial["seed"] for trial in done if trial["problems"] or trial["end"]})
    print(json.dumps(summary(done), indent=1))
    assert not bad, f"not as they must be: seeds {bad}, kept in {place}"


if __name__ == "__main__":
    typer.run(main)
