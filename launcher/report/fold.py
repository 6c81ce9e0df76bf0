"""From the journal's events to what is known of a run. Pure: no clock, no disk.

Everything that shows a run (`status`, the live view, the closing summary) folds events here and nowhere else. A step
redone after a restart appears again; the last one counts.
"""

from collections.abc import Iterable
from typing import Any

from launcher.core.document import Document
from launcher.core.events import RunState
from launcher.core.forgetting import Matrix, MatrixFold
from launcher.report.restarts import CONTROLLER_LOSS, Restarts
from launcher.report.stragglers import Stragglers

SAME = ("stage", "step", "action", "repeat")
"""Of two verdicts: they are one that was come to twice."""
RECENT = 50
"""Steps that speed and the time left are estimated from."""


class RunStatus(Document):
    """What `status --json` prints. Fields may be added, never renamed."""

    name: str
    state: RunState
    stage: str | None
    segment: int | None = None
    """Of the last step, from 0: each has an engine of its own."""
    step: int
    steps: int
    loss: float | None
    attempt: int
    workers: int
    committed_step: int | None
    """The newest step that a restart would continue from; None without a checkpoint."""
    eta_seconds: float | None
    goodput: float | None
    """Share of the run's wall time that went into steps that count."""
    exit_code: int | None


class RunFold:
    """Takes events one by one."""

    def __init__(self, events: Iterable[dict[str, Any]] = ()) -> None:
        self.name = ""
        self.steps = 0
        self.attempt = 0
        self.workers: list[dict[str, Any]] = []
        self.stages: dict[str, dict[str, Any]] = {}
        """Every stage begun, in order."""
        self.last_step: dict[str, Any] | None = None
        self.recent: list[dict[str, Any]] = []
        self.evaluations: dict[int, dict[str, Any]] = {}
        """By step; 0 is the untouched base."""
        self._matrix = MatrixFold()
        self.stragglers = Stragglers()
        self.verdicts: list[dict[str, Any]] = []
        """What gates and early stopping decided, in order."""
        self._at: dict[int, dict[str, Any] | None] = {}
        """The last step before each evaluation."""
        self.failures: list[dict[str, Any]] = []
        """Of the last attempt."""
        self.decision: dict[str, Any] | None = None
        """What was decided about them."""
        self.restarts = Restarts()
        self.exported: dict[str, Any] | None = None
        self.stop: dict[str, Any] | None = None
        self.end: dict[str, Any] | None = None
        self.committed_step: int | None = None
        self.committed_time = 0.0
        self._commits: list[tuple[int, float]] = []
        """Steps and when, without those that the run went back from."""
        self._left: dict[str, Any] | None = None
        """The verdict that the workers leave for."""
        self.phase = ""
        """Of rank 0, as last told, since the last step."""
        self.first_time = self.last_time = 0.0
        self.memory: int | None = None
        """Bytes on rank 0, as last told."""
        self._seconds: dict[int, float] = {}
        self._away = self._gap = 0.0
        self._goes_on = self._went_on = self._ended_before = False
        """The attempt is over and the command that ran it begins the next one; and whether it was so."""
        self._token: int | None = None
        self.add(*events)

    def add(self, *events: dict[str, Any]) -> None:
        """Take more events."""
        for event in events:
            if event["attempt"] < self.attempt:
                # From a controller that was taken for dead and woke up: its successor's word counts.
                continue
            now = float(event["time"])
            if event["attempt"] != self.attempt:
                self._begin_attempt(event["attempt"], now)
            self.first_time = self.first_time or now
            self.last_time = max(self.last_time, now)
            self.restarts.add(event, self.last_step)
            self._matrix.add(event)
            self.stragglers.add(event)
            if handler := getattr(self, f"_on_{event['event']}", None):
                handler(event)

    def status(self, *, alive: bool = True) -> RunStatus:
        """Return the run's status. `alive`: whether a controller holds the run now."""
        step = self.last_step
        return RunStatus(
            name=self.name, state=self._state(alive), stage=step["stage"] if step else next(iter(self.stages), None),
            segment=step.get("segment") if step else None,
            step=step["step"] if step else 0, steps=self.steps, loss=step["loss"] if step else None,
            attempt=self.attempt, workers=len(self.workers), committed_step=self.committed_step,
            eta_seconds=self.eta_seconds() if alive else None, goodput=self.goodput(),
            exit_code=self.end["exit_code"] if self.end else None)

    @property
    def matrix(self) -> Matrix:
        """Return what was learnt and forgotten at the borders of stages."""
        return self._matrix.matrix()

    def eta_seconds(self) -> float | None:
        """Return the time left at the pace of recent steps; None before the first one and after the end."""
        if not self.recent or self.last_step is None or self.end:
            return None
        return (self.steps - self.last_step["step"]) * self._pace()

    def tokens_per_second(self) -> float | None:
        """Return the speed over recent steps, padding not counted."""
        seconds = sum(step["seconds"] for step in self.recent)
        return sum(step["tokens"] for step in self.recent) / seconds if seconds else None

    def goodput(self) -> float | None:
        """Return the share of wall time, without the time between commands, spent on steps that count."""
        wall = self.wall_seconds()
        return min(1.0, sum(self._seconds.values()) / wall) if self._seconds and wall > 0 else None

    def wall_seconds(self, now: float | None = None) -> float:
        """Return how long the run has worked, without the time between commands: to its last event, or to `now`.

        The time from one attempt to the next of the same command was lost, but not away.
        """
        last = self.last_time if now is None or self.end or not self.last_time else max(now, self.last_time)
        return last - self.first_time - self._away

    @property
    def away_seconds(self) -> float:
        """Return the time so far in which no command worked on the run."""
        return self._away

    @property
    def goes_back_to(self) -> int | None:
        """Return the step that the next attempt goes back to, after a verdict that no attempt has followed yet."""
        return self._left["go_on"] if self._left else None

    def _pace(self) -> float:
        """Return seconds per step by the clock: evaluations and saves take time too."""
        if len(self.recent) < 2:
            return float(self.recent[0]["seconds"])
        return (self.recent[-1]["time"] - self.recent[0]["time"]) / (len(self.recent) - 1)

    def _state(self, alive: bool) -> RunState:
        if self.end:
            outcome = self.end["outcome"]
            return "failed" if outcome == "refused" else outcome
        if not alive:
            return "interrupted"
        if not self.attempt:
            return "preparing"
        if self.phase == "saving":
            return "saving"
        if self.stop or (self.restarts.open and self.restarts.open.moving):
            return "draining"
        if self.restarts.waiting():
            return "restarting"
        return "running" if self.recent else "starting"

    def _begin_attempt(self, attempt: int, now: float) -> None:
        self._gap = max(0.0, now - self.last_time) if self.last_time else 0.0
        self._away += 0.0 if self._goes_on else self._gap
        if not self._goes_on:
            self.restarts.forget()
        self.attempt, self._ended_before = attempt, self.end is not None
        self.workers, self.recent, self.failures, self.decision = [], [], [], None
        self.stop = self.end = None
        self.phase, self._went_on, self._goes_on = "", self._goes_on, False

    def _on_run_started(self, event: dict[str, Any]) -> None:
        self.name, self.steps = event["name"], event["steps"]

    def _on_attempt_started(self, event: dict[str, Any]) -> None:
        self.workers = event["workers"]
        # Told in this attempt of the one before: what became of it is this attempt.
        self.failures, self.decision, self._left = [], None, None
        # Whatever was saved since counts no more if this attempt could not continue from it, nor do steps after that.
        self.committed_step = event["resume"]
        self._seconds = {step: spent for step, spent in self._seconds.items() if step <= (event["resume"] or 0)}
        token = event.get("token")
        if token and self._token:
            # Of the run's lease: says better than how the attempt before ended whether it is the same command's.
            self._away += self._gap * (int(token != self._token) - int(not self._went_on))
            self._gap, self._went_on = 0.0, True
        self._token = token

    def _on_stage_started(self, event: dict[str, Any]) -> None:
        self.stages[event["stage"]] = event

    def _on_step(self, event: dict[str, Any]) -> None:
        self.last_step, self.phase = event, ""
        if not event.get("skipped"):  # what is left out takes no time
            self.recent = [*self.recent[1 - RECENT:], event]
        self._seconds[event["step"]] = event["seconds"]
        self.memory = event.get("memory_bytes", self.memory)

    def _on_evaluation(self, event: dict[str, Any]) -> None:
        self.evaluations[event["step"]] = event
        self._at[event["step"]] = self.last_step

    def _on_verdict(self, event: dict[str, Any]) -> None:
        # An attempt that died before it was acted upon comes to it again.
        self.verdicts = [each for each in self.verdicts if any(each.get(name) != event.get(name) for name in SAME)]
        self.verdicts.append(event)
        if event["action"] not in ("end", "repeat") or self.last_step is None:
            return
        # The run goes on from an earlier step: what came after it is not of the run any more.
        kept = event["go_on"]
        if kept < self.last_step["step"]:
            self.last_step, self.recent = self._at.get(kept), []
        self.evaluations = {step: each for step, each in self.evaluations.items() if step <= kept}
        self._seconds = {step: each for step, each in self._seconds.items() if step <= kept}
        self._left, self._commits = event, [each for each in self._commits if each[0] <= kept]
        self.committed_step, self.committed_time = self._commits[-1] if self._commits else (None, 0.0)
        if event["action"] == "end" and (stage := self.stages.get(event["stage"])):
            self.stages[event["stage"]] = {**stage, "steps": kept - stage["step"] + 1}

    def _on_failure(self, event: dict[str, Any]) -> None:
        self.failures.append(event)
        lost = event.get("kind") == CONTROLLER_LOSS and event.get("rank") is None
        if lost and not self._went_on and not self._ended_before:
            # Its command was there all the time, and replaces it. One that dies before it has workers tells no token.
            self._away -= self._gap
            self._gap, self._went_on = 0.0, True

    def _on_decision(self, event: dict[str, Any]) -> None:
        self.decision = event

    def _on_exported(self, event: dict[str, Any]) -> None:
        self.exported = event

    def _on_stop_requested(self, event: dict[str, Any]) -> None:
        self.stop = event

    def _on_checkpoint_committed(self, event: dict[str, Any]) -> None:
        if self._left and event["step"] > self._left["go_on"]:
            return  # It was being written when the workers left.
        self.committed_step, self.committed_time = event["step"], float(event["time"])
        while self._commits and self._commits[-1][0] >= event["step"]:
            self._commits.pop()  # Saved again, by an attempt that began before it.
        self._commits.append((event["step"], self.committed_time))

    def _on_phase(self, event: dict[str, Any]) -> None:
        self.phase = event["phase"]

    def _on_attempt_ended(self, _event: dict[str, Any]) -> None:
        self.phase, self._goes_on = "", True

    def _on_run_ended(self, event: dict[str, Any]) -> None:
        self.end, self._goes_on = event, False
