"""Which points of a run can no longer change, for a tracker that can only append. Pure, from the journal.

A step is settled once a checkpoint covers it and nothing could go back to before it; so is what was measured after it.
A point is given out once: what was given out before (`Sent`) is left out, so that a tracker that begins again from the
journal's first line goes on where it was. A step that is redone nevertheless, because a checkpoint turned out damaged,
is not given out again. What a verdict drops, because the run goes on from an earlier step with another stage or the
same one with more replay, was given out, and is followed by what takes its place: its points say how often that was.
"""

from dataclasses import dataclass, field, replace
from math import inf
from typing import Any

from launcher.core.events import GOING_BACK

Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Sent:
    """How far a tracker has come."""

    step: int = -1
    evaluation: int = -1
    """The last step after which something was measured."""
    back: int = 0
    """How often a verdict had let the run go back by then."""


@dataclass(frozen=True, slots=True)
class Point:
    """What is told of one step; a part that was told before, or is not there, is None or empty."""

    step: int
    done: Event | None
    evaluation: Event | None
    samples: tuple[Event, ...] = ()
    back: int = 0
    """How often a verdict had let the run go back by then: what was told of this step with less does not count."""

    @property
    def time(self) -> float:
        """Return when it happened."""
        return max(float(event["time"]) for event in (self.done, self.evaluation, *self.samples) if event is not None)


@dataclass
class Settling:
    """Takes events one by one, and gives out points in the order of their steps."""

    held: int = 0
    """Steps behind the newest checkpoint that are kept back: a divergence may go back to the checkpoint before it."""
    sent: Sent = field(default_factory=Sent)
    _attempt: int = 0
    _newest: int = 0
    _back: int = 0
    _steps: dict[int, Event] = field(default_factory=dict[int, Event])
    _evaluations: dict[int, Event] = field(default_factory=dict[int, Event])
    _samples: dict[int, list[Event]] = field(default_factory=dict[int, list[Event]])

    def add(self, event: Event) -> list[Point]:
        """Take an event; return the points that it settles."""
        if event["attempt"] < self._attempt:
            return []  # Of a controller that was taken for dead.
        self._attempt = event["attempt"]
        match event["event"]:
            case "attempt_started":
                self._forget_from((event["resume"] or 0) + 1)
            case "step":
                # An attempt may begin before the step it was told, when that checkpoint turned out damaged.
                if event["step"] <= self._newest:
                    self._forget_from(event["step"])
                self._newest = event["step"]
                self._steps[event["step"]] = event
            case "evaluation":
                self._evaluations[event["step"]] = event
            case "samples":
                self._samples.setdefault(event["step"], []).append(event)
            case "verdict" if event["action"] in GOING_BACK and event["go_on"] < event["step"]:
                self._go_back(event["go_on"])
            case "checkpoint_committed":
                return self._settle(event["step"] - self.held)
            case "run_ended" if event["outcome"] == "finished":
                return self._settle(inf)
            case _:
                pass
        return []

    def _forget_from(self, step: int) -> None:
        """Forget what another attempt does again: everything from a step on."""
        for found in (self._steps, self._evaluations, self._samples):
            for number in [number for number in found if number >= step]:
                del found[number]

    def _go_back(self, step: int) -> None:
        """Let what comes after a step be told anew."""
        self._forget_from(step + 1)
        self._back += 1
        if self._back > self.sent.back:
            self.sent = Sent(min(self.sent.step, step), min(self.sent.evaluation, step), self._back)

    def _settle(self, last: float) -> list[Point]:
        numbers = sorted(number for number in {*self._steps, *self._evaluations, *self._samples} if number <= last)
        return [point for number in numbers if (point := self._point(number))]

    def _point(self, step: int) -> Point | None:
        done, evaluation = self._steps.pop(step, None), self._evaluations.pop(step, None)
        samples = tuple(self._samples.pop(step, ()))
        if self._back < self.sent.back:
            return None  # An earlier life told it, or what took its place.
        done = done if step > self.sent.step else None
        if step <= self.sent.evaluation or step < self.sent.step:
            evaluation, samples = None, ()
        if done is None and evaluation is None and not samples:
            return None
        self.sent = replace(self.sent, step=max(step, self.sent.step))
        if evaluation is not None:
            self.sent = replace(self.sent, evaluation=step)
        return Point(step, done, evaluation, samples, self._back)
