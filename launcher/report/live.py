"""The live view of a run, made from the journal as it grows: a panel on a terminal, plain lines elsewhere.

Shows and decides nothing. Lines are for logs and pipes: one every few steps and seconds, one for each stage and
evaluation.
"""

import time
from collections.abc import Callable
from typing import Any, Protocol

from rich.console import Console, Group
from rich.live import Live

from launcher.report.fold import RunFold
from launcher.report.panel import losses_of, panel, speed
from launcher.report.restarts import Restart
from launcher.report.scores import has_scores, scores_of
from launcher.report.stragglers import straggler_line
from launcher.report.verdicts import verdict_line
from launcher.report.words import duration, loss, plural, reason

LINE_EVERY_S = 5.0
LINE_EVERY_STEPS = 10
LINE_AFTER_S = 1.0
"""A line every five seconds; every ten steps if those took at least one."""
REFRESH_PER_S = 4


class View(Protocol):
    """Something that shows events as they come."""

    def show(self, fold: RunFold, events: list[dict[str, Any]]) -> None:
        """Show the run after these events."""
        ...

    def close(self) -> None:
        """Leave the screen in order."""
        ...


def open_view(console: Console) -> View:
    """Return the view that fits where the output goes."""
    return PanelView(console) if console.is_terminal else LineView(console)


class PanelView:
    """Redraws one block in place."""

    def __init__(self, console: Console) -> None:
        self._fold = RunFold()
        self._live = Live(console=console, refresh_per_second=REFRESH_PER_S, transient=True, get_renderable=self._draw)
        self._live.start()

    def show(self, fold: RunFold, events: list[dict[str, Any]]) -> None:
        """Take the run as it is now; it is redrawn a few times a second, and its clock goes on between events."""
        self._fold = fold

    def close(self) -> None:
        """Remove the block: what remains on the screen is the summary."""
        self._live.stop()

    def _draw(self) -> Group:
        # Nothing is known before the first event.
        return panel(self._fold, now=time.time()) if self._fold.name else Group()


class LineView:
    """Prints lines."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console, self._lines = console, Lines(lambda _event: clock())

    def show(self, fold: RunFold, events: list[dict[str, Any]]) -> None:
        """Print a line for what is worth one."""
        for event in events:
            if line := self._lines.line(fold, event):
                self._console.print(line, soft_wrap=True, highlight=False, markup=False)

    def close(self) -> None:
        """Nothing to put in order."""


class Lines:
    """Makes lines of events. `now` says at which moment, in seconds of any clock, an event is told."""

    def __init__(self, now: Callable[[dict[str, Any]], float]) -> None:
        self._now = now
        self._last_time, self._last_step = -LINE_EVERY_S, 0

    def line(self, fold: RunFold, event: dict[str, Any]) -> str | None:
        """Return what is told of an event, which the fold has; None if it is not worth a line."""
        match event["event"]:
            case "run_started":
                told = "starting" if fold.last_step is None else "the plan has changed"
                return f"{event['name']}: {plural(event['steps'], 'step')}; {told}"
            case "verdict":
                return verdict_line(event)
            case "straggler":
                return straggler_line(event)
            case "attempt_started":
                goes_on = f", going on after step {event['resume']}" if event["resume"] else ""
                return f"attempt {event['attempt']}: {plural(len(event['workers']), 'worker')}{goes_on}"
            case "stage_started":
                return f"stage {event['stage']}: {plural(event['steps'], 'step')} from step {event['step']}"
            case "decision" if event["decision"] != "end the run" and fold.restarts.open:
                return _what_broke(fold.restarts.open)
            case "step" if fold.restarts.over and fold.restarts.over[-1].went_on == event["time"]:
                return f"{_back(fold.restarts.over[-1])}\n{step_line(fold, event)}"
            case "step" if self._step_is_due(fold, event):
                return step_line(fold, event)
            case "evaluation":
                scored = f"; {scores_of(event)}" if has_scores(event) else ""
                return f"holdout after step {event['step']}: {losses_of(event)}{scored}"
            case "checkpoint_failed":
                return f"checkpoint of step {event['step']} FAILED: {event['reason']}; training goes on"
            case "checkpoint_rejected":
                return f"checkpoint of step {event['step']} REJECTED: {event['reason']}; taking the one before"
            case "stop_requested":
                return f"stopping ({reason(event)}): workers finish their step and save"
            case _:
                return None

    def _step_is_due(self, fold: RunFold, event: dict[str, Any]) -> bool:
        now, step = self._now(event), event["step"]
        waited, steps = now - self._last_time, step - self._last_step
        due = waited >= LINE_EVERY_S or (waited >= LINE_AFTER_S and steps >= LINE_EVERY_STEPS)
        if due or step in (1, fold.steps):
            self._last_time, self._last_step = now, step
            return True
        return False


def step_line(fold: RunFold, event: dict[str, Any]) -> str:
    """Return one step as a line of text."""
    if event.get("skipped"):
        return f"step {event['step']}/{fold.steps}  {event['stage']}  left out: an amendment skips its rows"
    parts = [f"step {event['step']}/{fold.steps}", event["stage"], f"loss {loss(event['loss'])}", *speed(fold)]
    return "  ".join(parts) + ("" if event["applied"] else "  NOT APPLIED: the gradient norm is not finite")


def _what_broke(restart: Restart) -> str:
    """Return what failed and what is done about it."""
    cause, message = restart.cause()
    if not restart.failures:
        return f"after step {restart.step}: {cause}: {message}"
    return f"attempt {restart.attempt} failed after step {restart.step}: {cause}: {message}; {restart.decided()}"


def _back(restart: Restart) -> str:
    """Return how long training stood still."""
    if restart.planned and restart.engine:
        return f"engine {restart.engine} goes on {_where(restart)}, {duration(restart.took() or 0.0)} later"
    again = f"; {plural(restart.again(), 'step')} done again" if restart.again() else ""
    return f"training goes on {_where(restart)}, {duration(restart.took() or 0.0)} later{again}"


def _where(restart: Restart) -> str:
    return f"after step {restart.resume}" if restart.resume else "at step 1"
