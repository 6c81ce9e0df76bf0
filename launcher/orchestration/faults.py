"""Hurting a living run: who its processes are, and what can be done to them.

Finds them by role, from files and /proc alone: workers from the journal, the controller as the command's child, agent
and Ray's own from what the controller wrote down for its supervisor. Signals by pid, with the start time looked at
first. When to hurt and what must follow is `orchestration.drill`.
"""

import json
import signal
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Literal

from launcher.orchestration import ray_cluster
from launcher.orchestration.supervisor import CONTROLLER_MODULE
from launcher.storage.journal import read_journal
from launcher.storage.process_id import ProcessId, children, command_line, descendants
from launcher.storage.run_dir import RunDir

Moment = Literal["training", "loading"]


def nobody() -> Iterable[ProcessId]:
    """Return that a run has no processes beside those that it wrote down."""
    return ()


class LivingRun:
    """The processes of one command's run. On a cluster `elsewhere` tells who belongs to it on other machines."""

    def __init__(self, run: RunDir, command: ProcessId,
                 elsewhere: Callable[[], Iterable[ProcessId]] = nobody) -> None:
        self.run, self.command, self._elsewhere = run, command, elsewhere

    def workers(self) -> list[ProcessId]:
        """Return the newest attempt's workers by rank, those that live."""
        started = [event for event in read_journal(self.run) if event["event"] == "attempt_started"]
        found = (ProcessId(pid=place["pid"], started=place["started"])
                 for event in started[-1:] for place in event["workers"])
        return [process for process in found if process.alive()]

    def controller(self) -> ProcessId | None:
        """Return the controller, if there is one."""
        return next((child for child in children(self.command.pid)
                     if CONTROLLER_MODULE in command_line(child) and child.alive()), None)

    def scratch(self) -> Path | None:
        """Return the controller's node-local folder."""
        controller = self.controller()
        words = command_line(controller) if controller else []
        place = words.index(CONTROLLER_MODULE) + 1 if CONTROLLER_MODULE in words else 0
        return Path(words[place]) if 0 < place < len(words) else None

    def named(self, name: str) -> ProcessId | None:
        """Return the process of the private Ray whose program has this name: raylet, gcs_server."""
        return next((each for each in self._ray() if Path(first_word(each)).name == name), None)

    def agent(self) -> ProcessId | None:
        """Return the node's agent."""
        return next((each for each in reversed(self._ray()) if "RayNodeAgent" in first_word(each)), None)

    def family(self) -> list[ProcessId]:
        """Return everything that belongs to the run and lives."""
        below = [each for each in descendants(self.command) if each.alive()]
        known = {each.pid for each in below}
        others = (*self._ray(), *self.workers(), *self._elsewhere())
        return [self.command, *below, *{each.pid: each for each in others if each.pid not in known}.values()]

    def _ray(self) -> list[ProcessId]:
        scratch = self.scratch()
        if scratch is None:
            return []
        try:
            recorded = json.loads((scratch / ray_cluster.PROCESSES).read_bytes())
        except (OSError, ValueError):  # Not yet there, or being written.
            return []
        return [process for each in recorded if (process := ProcessId.model_validate(each)).alive()]


def first_word(process: ProcessId) -> str:
    """Return what a process calls itself."""
    return next(iter(command_line(process)), "")


Blow = Callable[[LivingRun, Random], bool]
"""Hurts a run, and returns whether everybody was there."""
Victims = Callable[[LivingRun, Random], Iterator[ProcessId | None]]


def signals(victims: Victims, number: int = signal.SIGKILL) -> Blow:
    """Return the blow that sends a signal to all victims at once."""

    def strike(living: LivingRun, chance: Random) -> bool:
        found = list(victims(living, chance))
        hit = [victim is not None and victim.signal(number) for victim in found]
        return bool(hit) and all(hit)

    return strike


def nothing() -> None:
    """Leave everything as it is."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to hurt a run."""

    name: str
    """As the drill's table says it."""
    strike: Blow
    moment: Moment = "training"
    exit_code: int | None = None
    """Of the command, if it must end; it is given again then. None: the command goes on by itself."""
    again: bool = False
    """The next attempt is hurt the same way while it loads."""
    mend: Callable[[], None] = nothing
    """What others put right afterwards: once the run goes on by itself, or before the command is given again."""


def _one_rank(living: LivingRun, chance: Random) -> Iterator[ProcessId | None]:
    yield chance.choice(living.workers() or [None])


def _two_ranks(living: LivingRun, chance: Random) -> Iterator[ProcessId | None]:
    ranks = living.workers()
    yield from chance.sample(ranks, min(2, len(ranks)))


def _agent(living: LivingRun, _chance: Random) -> Iterator[ProcessId | None]:
    yield living.agent()


def _raylet(living: LivingRun, _chance: Random) -> Iterator[ProcessId | None]:
    yield living.named("raylet")


def _gcs(living: LivingRun, _chance: Random) -> Iterator[ProcessId | None]:
    yield living.named("gcs_server")


def _controller(living: LivingRun, _chance: Random) -> Iterator[ProcessId | None]:
    yield living.controller()


def _command(living: LivingRun, _chance: Random) -> Iterator[ProcessId | None]:
    yield living.command


YIELDED, KILLED = 75, -signal.SIGKILL
USUAL = (
    Fault("a rank killed", signals(_one_rank)),
    Fault("two ranks killed at once", signals(_two_ranks)),
    Fault("a rank stopped by SIGSTOP", signals(_one_rank, signal.SIGSTOP)),
    Fault("the node's agent killed", signals(_agent)),
    Fault("the controller killed", signals(_controller)),
    Fault("Ray's raylet killed", signals(_raylet)),
    Fault("Ray's GCS killed", signals(_gcs)),
    Fault("SIGTERM, then resumed", signals(_command, signal.SIGTERM), exit_code=YIELDED),
)
"""What a drill does unless asked for more."""
MORE = (
    Fault("a rank killed while loading", signals(_one_rank), moment="loading"),
    Fault("a rank killed, and again", signals(_one_rank), again=True),
    Fault("controller killed while loading", signals(_controller), moment="loading"),
    Fault("the command killed, run again", signals(_command), exit_code=KILLED),
)
FAULTS = (*USUAL, *MORE)
PLAIN = ("a rank killed", "two ranks killed at once", "a rank stopped by SIGSTOP", "the controller killed",
         "SIGTERM, then resumed")
"""Those that make sense without Ray."""


def fault(name: str) -> Fault:
    """Return the fault of a name."""
    return next(each for each in FAULTS if each.name == name)
