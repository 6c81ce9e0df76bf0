"""How a run gets on, in the lines that its own command prints without a terminal: for `launcher logs`, from anywhere.

Decides how much of the past is told: of steps and evaluations that were over before anybody looked, evenly spaced ones.
What is worth a line, and how it reads, is `report.live`; how a run ended, `report.summary`.
"""

from collections.abc import Sequence
from typing import Any

from launcher.report.fold import RunFold
from launcher.report.live import Lines
from launcher.report.summary import headline, told_failures
from launcher.storage.journal import JournalReader
from launcher.storage.run_dir import RunDir

PAST_LINES = 300
"""Of steps and evaluations that are over: a run of months has millions, and a person wants the curve."""
OFTEN = ("step", "evaluation")

Line = tuple[int, str, str]
"""Attempt, the event's name, and what is printed of it."""


class Progress:
    """Follows one run's journal."""

    NAME = "progress"
    """Where the logs' names stand."""

    def __init__(self, run: RunDir, shown: str, first: int, last: int | None) -> None:
        """`first` and `last` are the attempts to be told; None: those that come, too."""
        self._run, self._shown, self._first, self._last = run, shown, first, last
        self._reader, self._fold = JournalReader(run), RunFold()
        # By the events' own clock: who looks a year later sees what was printed then.
        self._lines = Lines(lambda event: float(event["time"]))
        self.told = False
        """Whether there was anything to tell."""

    def new(self) -> list[Line]:
        """Return what has happened since the last call."""
        found = [line for event in self._reader.new_events() if (line := self._line(event))]
        self.told = self.told or bool(found)
        return thinned(found)

    def _line(self, event: dict[str, Any]) -> Line | None:
        stale = event["attempt"] < self._fold.attempt
        self._fold.add(event)
        if stale or event["attempt"] < self._first or event["attempt"] > (self._last or event["attempt"]):
            return None
        text = self._end() if event["event"] == "run_ended" else self._lines.line(self._fold, event)
        return (event["attempt"], event["event"], text) if text else None

    def _end(self) -> str:
        fold, run = self._fold, self._run
        failed = fold.failures and fold.status(alive=False).state != "finished"
        return headline(fold) + (f"\n{told_failures(run, self._shown, fold).rstrip()}" if failed else "")


def thinned(lines: Sequence[Line], most: int = PAST_LINES) -> list[Line]:
    """Return the lines, of steps and evaluations no more than so many, evenly spaced and with the last."""
    often = [index for index, line in enumerate(lines) if line[1] in OFTEN]
    every = -(-len(often) // most) or 1
    kept = {*often[::-1][::every]}
    return [line for index, line in enumerate(lines) if line[1] not in OFTEN or index in kept]
