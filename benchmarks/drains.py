"""Nodes of a cluster that are drained under a run, one after the other, at random moments of every phase it is in.

Decides what counts as right: the run saves, leaves the node before its deadline, and goes on with a node to spare
without doing a step again; its end is that of the run that nothing happened to. The cluster is `benchmarks.ray_nodes`.
"""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Any, Self

from benchmarks.machines import Machine, why_not
from benchmarks.node_faults import NodeFaults
from benchmarks.ray_nodes import ADDRESS, RayNodes, environment
from benchmarks.stop_moments import Phase, Watched, await_moment, until
from benchmarks.stop_trials import Asked, Outcome, last_saved
from launcher.core.drill import first_step_after, recovery
from launcher.orchestration.drill import Drill
from launcher.orchestration.drilled_command import Command, NotRight
from launcher.storage.run_dir import RunDir

WANTED, SPARE = 2, 1
"""Machines that the run uses, each for one worker, and more that are there."""
DEADLINE_S = 60
WAY = "ray drain-node"
WORKING: tuple[Phase, ...] = ("training", "saving", "evaluating")
"""Phases in which nodes are in use, but for the loading with which a run begins."""


class Drains:
    """The cluster with the unbroken run done, as a context: afterwards nothing of it is left."""

    def __init__(self, place: Path, options: Sequence[str], whole: str) -> None:
        if reason := why_not():
            raise SystemExit(f"skipped: {reason}")
        self._place, self._options, self._whole = place, options, f"{whole}-cluster"
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        os.environ.update(environment())
        with ExitStack() as stack:
            self._cluster = stack.enter_context(RayNodes(WANTED + SPARE))
            self._faults = NodeFaults(self._cluster)
            wish = f"cluster={{nodes: {WANTED}, gpus_per_node: 1, min_nodes: 1}}"
            options = ("--cache", str(self._place / "cache"), "--address", ADDRESS, *self._options, "--set", wish)
            self._drill = Drill(self._place, "quickstart", options, self._cluster.ground())
            have_whole(self._drill, self._whole)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def played(self, seed: int, count: int) -> list[dict[str, Any]]:
        """Drain so many nodes under a run and compare its end; return what was done and what came of it."""
        chance, name, trials, problems = Random(seed), f"drained{seed}", list[dict[str, Any]](), list[str]()
        try:
            with self._drill.begun(name) as command:
                for phase in phases_of(chance, count):
                    trials += self._drained(command, phase, chance)
                command.until(lambda: command.exit_code() is not None, "the end of the run", may_end=True)
                problems += command.left()
                if command.exit_code() != 0:
                    raise NotRight(f"the command ended with {command.exit_code()}: {command.said()}")
            problems += self._drill.compared(self._whole, name)
        except NotRight as error:
            problems.append(str(error))
        if not problems and not any(trial["problems"] for trial in trials):
            self._drill.forget(name)
        return [{"seed": seed, "ray": True, **trial, "end": problems} for trial in trials]

    def _drained(self, command: Command, phase: Phase, chance: Random) -> Iterator[dict[str, Any]]:
        """Drain a node at a moment of a phase and wait for the run to go on without; nothing if it had finished."""
        attempt, done = command.latest("attempt_started", "attempt"), last_saved(command.run)
        seen = Watched(command, 0, max(1, attempt), self._mailboxes, self._since(command, attempt))
        if not await_moment(phase, command, seen, done, chance):
            return
        command.until(lambda: self._faults.used(command.living), "the nodes of an attempt")
        attempt, now, found_in = command.latest("attempt_started", "attempt"), time.time(), seen.phase()
        machine = chance.choice(self._faults.used(command.living))
        self._cluster.drain(machine, DEADLINE_S)
        if until(command, lambda: first_step_after(command.events(), attempt)):
            problems = tuple(self._wrong(command, machine, attempt, now))
            yield {**asdict(Asked(phase, WAY, deadline=DEADLINE_S)),
                   **asdict(Outcome(found_in, seen.step, last_saved(command.run), None, time.time() - now, problems))}
        self._cluster.lose_power(machine)
        self._cluster.fill()

    def _since(self, command: Command, attempt: int) -> float:
        """Return from when on workers are listened to: the phases of this attempt's first step are over."""
        first = first_step_after(command.events(), attempt - 1) if attempt else None
        return first["time"] if first else 0.0

    def _mailboxes(self) -> list[Path]:
        return [box for folder in self._cluster.scratches() for box in folder.glob("worker-*")]

    def _wrong(self, command: Command, machine: Machine, attempt: int, now: float) -> Iterator[str]:
        """Yield what is wrong with how the run made way."""
        after = [event for event in command.events() if event["time"] >= now]
        if failed := [event["message"] for event in after if event["event"] == "failure"]:
            yield f"it failed: {failed[0]}"
        if not any(event["event"] == "decision" and event["decision"] == "leave nodes" for event in after):
            yield "it did not decide to leave the node"
        if (redone := recovery(after, attempt, now, None).redone) and not failed:
            yield f"{redone} steps were done again"
        if machine.name in {place["node"] for event in after if event["event"] == "attempt_started"
                            for place in event["workers"]}:
            yield f"{machine.name} is used again"


def have_whole(drill: Drill, name: str) -> None:
    """Do the unbroken run unless it is done; one that an earlier call could not finish is done anew."""
    if not (drill.run_dir(name).path / RunDir.MODEL).exists():
        drill.forget(name)
        drill.unbroken(name)


def phases_of(chance: Random, count: int) -> list[Phase]:
    """Draw in which phases nodes are drained; only the first can be the loading, which is over once a run goes on."""
    first: list[Phase] = ["loading"] if chance.random() < 0.5 else []
    return [*first, *chance.choices(WORKING, k=count - len(first))]
