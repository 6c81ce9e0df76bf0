"""Where a run is at this moment, seen from outside and to the millisecond, and waiting for a random moment of a phase.

Workers write their phases and steps into their mailboxes as they happen; the journal tells them up to 0.2 s later. What
is done at the moment is `benchmarks.stop_trials`.
"""

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random
from typing import Any, Literal

from launcher.orchestration.drilled_command import Command, NotRight
from launcher.storage.lock import token_of
from launcher.storage.mailbox import Mailbox
from launcher.storage.run_dir import RunDir
from launcher.storage.run_start import next_attempt

Phase = Literal["preparing", "starting", "loading", "training", "saving", "evaluating", "exporting"]
PHASES: tuple[Phase, ...] = ("preparing", "starting", "loading", "training", "saving", "evaluating", "exporting")
LASTS_S: dict[Phase, float] = {"preparing": 1.5, "starting": 3.0, "loading": 2.5, "training": 0.1, "saving": 0.03,
                               "evaluating": 0.8, "exporting": 0.1}
"""About; the moment is drawn from so much time after the phase began, and may be of the next one."""
AHEAD = 6
"""Steps, at most, before a moment of training or saving."""
POLL_S = 0.003
LIMIT_S = 300.0


class Watched:
    """One start of a run: what its workers have told so far, or since a moment."""

    def __init__(self, command: Command, token: int, attempt: int,
                 mailboxes: Callable[[], Iterable[Path]] | None = None, since: float = 0.0) -> None:
        self._command, self._token = command, token
        self.attempt = attempt
        """The first of this start."""
        self._mailboxes, self._since = mailboxes or self._here, since
        self._boxes: dict[Path, Mailbox] = {}
        self._told: list[dict[str, Any]] = []
        self._scratch: Path | None = None

    def told(self, name: str) -> list[dict[str, Any]]:
        """Return the events of one name, in the order of their time."""
        self._listen()
        return [event for event in self._told if event["event"] == name]

    @property
    def step(self) -> int:
        """Return the last step done in this start; 0 before the first."""
        return max((event["step"] for event in self.told("step")), default=0)

    def phase(self) -> str:
        """Return the phase of this moment, as far as it can be seen."""
        if phases := self.told("phase"):
            return "saving" if phases[-1]["phase"] == "step" and self.saving() else str(phases[-1]["phase"])
        return "starting" if self.begun() else "preparing" if self.held() else "nothing"

    def held(self) -> bool:
        """Return whether the command has the run's lease."""
        return token_of(self._command.run) > self._token

    def begun(self) -> bool:
        """Return whether the controller has the word to go: it opens the attempt's log then."""
        run = self._command.run
        return (run.path / run.attempt_key(self.attempt, "controller.log")).exists()

    def saving(self) -> bool:
        """Return whether a checkpoint is being written."""
        staging = self._command.run.path / "checkpoints/.staging" / f"{self.attempt:03d}"
        return any(staging.glob("step-*"))

    def _listen(self) -> None:
        for folder in self._mailboxes():
            heard = self._boxes.setdefault(folder, Mailbox(folder)).take_events()
            self._told += [event for event in heard if event.get("time", 0.0) >= self._since]
        self._told.sort(key=lambda event: event.get("time", 0.0))

    def _here(self) -> Iterable[Path]:
        self._scratch = self._scratch or self._command.living.scratch()
        return () if self._scratch is None else self._scratch.glob("worker-*")


def watched(run: RunDir, start: Callable[[], Command]) -> tuple[Command, Watched]:
    """Start a command; return it, and what is seen of it from its first moment on."""
    token, attempt = token_of(run), next_attempt(run)
    command = start()
    return command, Watched(command, token, attempt)


def await_moment(phase: Phase, command: Command, seen: Watched, done: int, chance: Random) -> bool:
    """Wait for a random moment of a phase, of a run that has done so many steps; return whether it came."""
    ahead, more = done + chance.randint(1, AHEAD), chance.randint(1, 2)
    conditions: dict[Phase, Callable[[], object]] = {
        "preparing": seen.held, "starting": seen.begun, "loading": lambda: in_phase(seen, "loading"),
        "training": lambda: seen.step >= ahead, "saving": lambda: seen.step >= ahead - 1 and seen.saving(),
        "evaluating": lambda: len(evaluations(seen)) >= more, "exporting": lambda: in_phase(seen, "exporting"),
    }
    if not until(command, conditions[phase]):
        return False
    time.sleep(chance.uniform(0.0, LASTS_S[phase]))
    return command.exit_code() is None


def in_phase(seen: Watched, phase: str) -> bool:
    """Return whether some worker has entered a phase."""
    return any(event["phase"] == phase for event in seen.told("phase"))


def evaluations(seen: Watched) -> set[int]:
    """Return after which steps the holdouts were measured in this start, or are being."""
    return {event["step"] for event in seen.told("phase") if event["phase"] == "evaluating"}


def until(command: Command, condition: Callable[[], object], limit_s: float = LIMIT_S) -> bool:
    """Wait for a condition; return False if the command ended before. Raises NotRight if neither comes."""
    deadline = time.monotonic() + limit_s
    while not condition():
        if command.exit_code() is not None:
            return False
        if time.monotonic() > deadline:
            raise NotRight(f"neither the moment nor the end came within {limit_s:.0f} s; {command.said()}")
        command.look()
        time.sleep(POLL_S)
    return True
