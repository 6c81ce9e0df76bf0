"""Running a recipe as a person would, hurting it, and comparing it with the run that was not hurt.

Everything is done from outside, by commands, signals and files. What can be done to a run is `orchestration.faults`,
what counts as the same `core.drill`, what a drill tries and prints the command's.
"""

import hashlib
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from launcher.core.drill import Recovery, differences, exactly, first_step_after, recovery, spread, tolerance
from launcher.core.errors import FINISHED, REFUSED, UserError
from launcher.orchestration.drilled_command import HERE, LIMIT_S, Command, Ground, NotRight
from launcher.orchestration.faults import Fault
from launcher.storage.journal import read_journal
from launcher.storage.run_dir import RunDir

LOADING_S = 3.0
"""The moments of loading from which one is chosen begin with an attempt and last so long."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of hurting a run in one way."""

    done: str
    step: int
    recovery: Recovery
    problems: tuple[str, ...]
    seconds: float


class Drill:
    """Runs of one recipe in one folder."""

    def __init__(self, folder: Path, recipe: str, options: Sequence[str], ground: Ground = HERE) -> None:
        self.folder, self._recipe, self._options, self._ground = folder, recipe, tuple(options), ground

    def run_dir(self, name: str) -> RunDir:
        """Return where a run lies."""
        return RunDir(self.folder / name)

    @contextmanager
    def begun(self, name: str) -> Iterator[Command]:
        """Give the command; whatever happens inside, nothing of it is left."""
        arguments = ("run", self._recipe, "--run-dir", str(self.folder / name), *self._options)
        command = Command(arguments, self.run_dir(name), self.folder / f"{name}.log", self._ground)
        try:
            yield command
        finally:
            command.end()

    def unbroken(self, name: str) -> list[dict[str, Any]]:
        """Run to the end without hurting; return the journal. Raises UserError or NotRight if it does not finish."""
        with self.begun(name) as command:
            command.until(lambda: command.exit_code() is not None, "the end of the unbroken run", may_end=True)
            if command.exit_code() == REFUSED:
                raise UserError(command.said().strip().removeprefix("launcher: "))
            if command.exit_code() != 0:
                raise NotRight(f"the unbroken run ended with {command.exit_code()}: {command.said()}")
            return command.events()

    def hurt(self, name: str, whole: str, faults: Sequence[Fault], chance: Random,
             resized: Sequence[str] = ()) -> list[Trial]:
        """Hurt a fresh run in these ways, one after the other, and compare its end with the run called `whole`."""
        steps = max(event["step"] for event in read_journal(self.run_dir(whole)) if event["event"] == "step")
        # Each has its span of the run, and the last comes while there is some left to train.
        spans = [max(2, steps * (number + 1) * 3 // (5 * len(faults))) for number in range(len(faults))]
        waiting, strikes = list(zip(faults, spans, strict=True)), list[Strike]()
        begin = time.monotonic()
        try:
            while not self._hurt_once(name, waiting, strikes, chance):
                pass
            problems = self.compared(whole, name, resized)
        except NotRight as error:
            problems = [str(error)]
        return self._trials(name, strikes, faults, tuple(problems), time.monotonic() - begin)

    def compared(self, whole: str, hurt: str, resized: Sequence[str] = ()) -> list[str]:
        """Return in what a run is not another one: weights, losses, rows, or a ledger that proves nothing.

        To the last bit, unless it had another number of workers for a while: from there losses may differ by rounding,
        or by as much as `whole` does from the unbroken runs called `resized`, which had other numbers of workers.
        """
        one, other = self.run_dir(whole), self.run_dir(hurt)
        before, after = list(read_journal(one)), list(read_journal(other))
        others = [list(read_journal(self.run_dir(each))) for each in resized]
        within = tolerance(before, after, spread([before, *others]) if others else None)
        problems = differences(before, after, within)
        if within is exactly and digests(one) != digests(other):
            problems.append("the final weights differ")
        proof = subprocess.run([sys.executable, "-m", "launcher.cli.main", "checkpoints", str(other.path), "--verify"],
                               capture_output=True, text=True, timeout=LIMIT_S, check=False)
        if proof.returncode:
            problems.append(f"the ledger is not proven: {proof.stdout[-300:]}{proof.stderr[-300:]}")
        return problems

    def forget(self, name: str) -> None:
        """Remove a run."""
        shutil.rmtree(self.run_dir(name).path, ignore_errors=True)

    def _hurt_once(self, name: str, waiting: list[tuple[Fault, int]], strikes: list["Strike"], chance: Random) -> bool:
        """Give the command once and hurt the run until that ends it; return whether the run has finished."""
        with self.begun(name) as command:
            expected = 0
            while waiting and expected == 0:
                fault, span = waiting.pop(0)
                try:
                    strikes.append(_strike(command, fault, span, chance))
                except NotRight:
                    if not strikes or command.exit_code() != FINISHED:
                        raise
                    waiting.clear()  # What came before took it so far that it has ended in good order.
                    break
                expected = fault.exit_code or 0
                if expected == 0:
                    _await_step(command, strikes[-1])
                    fault.mend()
                strikes[-1].gone = command.controller_gone
            command.until(lambda: command.exit_code() is not None, "the end of the command", may_end=True)
            if command.exit_code() != expected:
                raise NotRight(f"the command ended with {command.exit_code()}: {command.said()}")
            if left := command.left():
                raise NotRight("; ".join(left))
            if expected:
                strikes[-1].fault.mend()
            return expected == 0

    def _trials(self, name: str, strikes: Sequence["Strike"], faults: Sequence[Fault], problems: tuple[str, ...],
                seconds: float) -> list[Trial]:
        events = list(read_journal(self.run_dir(name)))
        found = [Trial(strike.fault.name, strike.step, recovery(events, strike.attempt, strike.time, strike.gone),
                       problems, seconds) for strike in strikes]
        return found or [Trial(faults[0].name, 0, Recovery(None, None, None), problems, seconds)]


@dataclass(slots=True)
class Strike:
    """What was done to a run, and when."""

    fault: Fault
    step: int
    attempt: int
    time: float
    gone: float | None = None
    """When the controller of that moment was seen to be gone."""


def _strike(command: Command, fault: Fault, span: int, chance: Random) -> Strike:
    """Hurt a run at a random moment, at the latest after so many steps."""
    command.until(command.living.workers, "the beginning of an attempt")
    if fault.moment == "loading":
        time.sleep(chance.uniform(0.0, LOADING_S))
    else:
        begun, done = command.latest("attempt_started", "attempt"), command.latest("step", "step")
        step = chance.randint(min(done + 1, span), span)
        command.until(lambda: command.latest("step", "step") >= step and first_step_after(command.events(), begun - 1),
                      f"step {step}")
        time.sleep(chance.uniform(0.0, 0.3))  # Steps and saves take less: any line of either may be under way.
    command.watch_controller()
    struck = _hit(command, fault, chance)
    if fault.again:
        command.until(lambda: command.latest("attempt_started", "attempt") > struck.attempt, "the next attempt")
        time.sleep(chance.uniform(0.0, LOADING_S))
        _hit(command, fault, chance)
    return struck


def _await_step(command: Command, struck: Strike) -> None:
    """Wait for the next attempt to train. A run may also end well before anything is noticed: Ray takes 5 s."""
    command.until(lambda: first_step_after(command.events(), struck.attempt) or command.exit_code() is not None,
                  f"a step after {struck.fault.name}", may_end=True)


def _hit(command: Command, fault: Fault, chance: Random) -> Strike:
    command.look(now=True)
    attempt, step = command.latest("attempt_started", "attempt"), command.latest("step", "step")
    now = time.time()
    if not fault.strike(command.living, chance):
        raise NotRight(f"there was nobody to hurt at step {step}: {fault.name}")
    return Strike(fault, step, attempt, now)


def digests(run: RunDir) -> dict[str, str]:
    """Return what a finished run's model files hold, by name."""
    found: dict[str, str] = {}
    for path in sorted((run.path / run.MODEL).glob("*")):
        with path.open("rb") as file:
            found[path.name] = hashlib.file_digest(file, "blake2b").hexdigest()
    return found
