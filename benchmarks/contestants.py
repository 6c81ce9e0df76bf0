"""Who recovers in `benchmarks.recovery`: launcher, Ray Train with DeepSpeed, TRL under torchrun.

Each trains the quickstart's model on two workers, 12 rows of 128 tokens a step, under ZeRO-3 and fp32, saves every ten
steps, and is begun, hurt and ended in the same way. What is timed is the benchmark's.
"""

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from random import Random
from typing import Protocol

import launcher
from benchmarks.harness import environment, torchrun
from benchmarks.peer import Peer
from benchmarks.told import Event
from launcher.orchestration.drill import Drill
from launcher.orchestration.drilled_command import Command
from launcher.orchestration.faults import fault

EVERY = 10
"""Steps between checkpoints."""
RANKS, ROWS, LENGTH = 2, 12, 128
HERE = Path(__file__).parent
TOLD, ASKED = "told.jsonl", "asked.json"
Begin = Callable[[str], AbstractContextManager["AtWork"]]


class AtWork(Protocol):
    """A contestant that trains."""

    def events(self) -> list[Event]:
        """Return `attempt_started` and `step` events so far."""
        ...

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait for a condition."""
        ...

    def hurt(self, chance: Random) -> None:
        """Kill a rank."""
        ...


class LauncherAtWork:
    """`launcher run`, and one way to hurt it."""

    def __init__(self, command: Command, way: str) -> None:
        self._command, self._fault = command, fault(way)

    def events(self) -> list[Event]:
        """Return the journal."""
        return self._command.events()

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait for a condition."""
        self._command.until(condition, what)

    def hurt(self, chance: Random) -> None:
        """Do what was asked for."""
        self._command.look(now=True)
        assert self._fault.strike(self._command.living, chance), "there was nobody to hurt"


def quickstart(folder: Path, steps: int) -> Drill:
    """Return the quickstart with so many steps in its last stage, and none to speak of before."""
    lengths = [f"--set=stages.{stage}.length.steps={count}" for stage, count in enumerate((1, 1, steps))]
    return Drill(folder, "quickstart", ["--cache", str(folder / "cache"), *lengths,
                                        "--set=evaluate.every=100000 steps", f"--set=checkpoint.every={EVERY} steps",
                                        f"--set=micro_batch={ROWS // RANKS}"])


def launcher_run(folder: Path, way: str, steps: int = 2000) -> Begin:
    """Return what begins a run of launcher, by name."""
    drill = quickstart(folder, steps)

    @contextmanager
    def begin(name: str) -> Iterator[AtWork]:
        drill.forget(name)
        with drill.begun(name) as command:
            yield LauncherAtWork(command, way)
    return begin


def peer(folder: Path, model: Path, command: Callable[[str], list[str]]) -> Begin:
    """Return what begins a peer, by name: in a folder of its own, where it finds what is asked of it."""
    @contextmanager
    def begin(name: str) -> Iterator[AtWork]:
        place = folder / name
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        data = Path(launcher.__file__).parent / "quickstart/counting.jsonl"
        asked = {"model": str(model), "data": str(data), "folder": str(place), "told": str(place / TOLD),
                 "rows": ROWS // RANKS, "length": LENGTH, "every": EVERY}
        (place / ASKED).write_text(json.dumps(asked))
        at_work = Peer(command(str(place / ASKED)), peer_environment(), place / TOLD, place / "log")
        try:
            yield at_work
        finally:
            at_work.end()
    return begin


def peer_environment() -> dict[str, str]:
    """Return a peer's environment: with torch 2.13 torchrun's restarts meet the dead in their store unless told so."""
    return environment() | {"PYTHONPATH": str(HERE.parent), "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}


def ray_train(asked: str) -> list[str]:
    """Return the command of Ray Train."""
    return [sys.executable, str(HERE / "ray_train_deepspeed.py"), asked]


def trl(asked: str) -> list[str]:
    """Return the command of TRL under torchrun, which starts all ranks again when one has died."""
    command = torchrun("trl_restarts.py", asked)
    return [*command[:-2], "--max-restarts=10", *command[-2:]]
