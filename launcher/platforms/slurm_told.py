"""What a job reads in its run's journal: how long a stop takes, since when nodes are missing, how the run ended. Pure.

Decides what counts of the events. What follows for the job is `slurm_verdict`'s.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from launcher.core.failure import FailureKind

Event = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class End:
    """How a run has ended."""

    outcome: str
    exit_code: int
    time: float
    on_request: bool
    """A person typed `launcher stop`."""
    failure: str = ""
    """The kind of the last failure before it, if there was any."""


@dataclass(frozen=True, slots=True)
class Told:
    """What the events so far come to."""

    save_s: float = 0.0
    """The longest save."""
    step_s: float = 0.0
    """The longest step."""
    missing_since: float | None = None
    """Since when an attempt cannot begin, because nodes are missing."""
    stop: str = ""
    """Why the run was asked to stop last."""
    failure: str = ""
    """What kind of failure was last."""
    end: End | None = None
    """None while it is under way, or was when it was interrupted."""

    def add(self, *events: Event) -> "Told":
        """Return what is known with these events, too."""
        told = self
        for event in events:
            told = told._learn(event)
        return told

    def _learn(self, event: Event) -> "Told":
        match event["event"]:
            case "checkpoint_committed":
                return replace(self, save_s=max(self.save_s, event["seconds"]))
            case "step":
                return replace(self, step_s=max(self.step_s, event["seconds"]))
            case "attempt_started":
                return replace(self, missing_since=None, stop="", end=None)
            # A rank below 0 is nobody's: the attempt could not be placed.
            case "failure" if event["kind"] == FailureKind.NODE_LOSS and (event["rank"] or 0) < 0:
                return replace(self, missing_since=self.missing_since or event["time"], failure=event["kind"])
            case "failure":
                return replace(self, failure=event["kind"])
            case "stop_requested":
                return replace(self, stop=event["reason"])
            case "run_ended":
                end = End(event["outcome"], event["exit_code"], event["time"], self.stop == "stop_command",
                          self.failure)
                return replace(self, missing_since=None, stop="", failure="", end=end)
            case _:
                return self


def told_by(events: Iterable[Event]) -> Told:
    """Return what a journal comes to."""
    return Told().add(*events)
