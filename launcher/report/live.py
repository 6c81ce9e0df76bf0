"""The live view of a run, made from the journal as it grows: a panel on a terminal, plain lines elsewhere.

Shows and decides nothing. Lines are for logs and pipes: one every few steps and seconds, one for each stage and
evaluation.
"""

import time
from collections.abc import Callable
from typing import Any, Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from launcher.report.fold import RunFold
from launcher.report.words import count, duration, loss, norm, plural, size

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
        self._console, self._clock = console, clock
        self._last_time, self._last_step = -LINE_EVERY_S, 0

    def show(self, fold: RunFold, events: list[dict[str, Any]]) -> None:
        """Print a line for what is worth one."""
        for event in events:
            if line := self._line(fold, event):
                self._console.print(line, soft_wrap=True, highlight=False, markup=False)

    def close(self) -> None:
        """Nothing to put in order."""

    def _line(self, fold: RunFold, event: dict[str, Any]) -> str | None:
        match event["event"]:
            case "run_started":
                return f"{event['name']}: {plural(event['steps'], 'step')}; starting"
            case "attempt_started":
                goes_on = f", going on after step {event['resume']}" if event["resume"] else ""
                return f"attempt {event['attempt']}: {plural(len(event['workers']), 'worker')}{goes_on}"
            case "stage_started":
                return f"stage {event['stage']}: {plural(event['steps'], 'step')} from step {event['step']}"
            case "step" if self._step_is_due(fold, event):
                return step_line(fold, event)
            case "evaluation":
                return f"holdout after step {event['step']}: {_losses(event)}"
            case "checkpoint_failed":
                return f"checkpoint of step {event['step']} FAILED: {event['reason']}; training goes on"
            case "checkpoint_rejected":
                return f"checkpoint of step {event['step']} REJECTED: {event['reason']}; taking the one before"
            case "stop_requested":
                return f"stopping ({event['reason']}): workers finish their step"
            case _:
                return None

    def _step_is_due(self, fold: RunFold, event: dict[str, Any]) -> bool:
        now, step = self._clock(), event["step"]
        waited, steps = now - self._last_time, step - self._last_step
        due = waited >= LINE_EVERY_S or (waited >= LINE_AFTER_S and steps >= LINE_EVERY_STEPS)
        if due or step in (1, fold.steps):
            self._last_time, self._last_step = now, step
            return True
        return False


def step_line(fold: RunFold, event: dict[str, Any]) -> str:
    """Return one step as a line of text."""
    parts = [f"step {event['step']}/{fold.steps}", event["stage"], f"loss {loss(event['loss'])}", *_speed(fold)]
    return "  ".join(parts) + ("" if event["applied"] else "  NOT APPLIED: the gradient norm is not finite")


def panel(fold: RunFold, *, alive: bool = True, now: float | None = None) -> Group:
    """Return the block that a terminal shows; it fits 80 columns.

    `alive`: whether a controller holds the run. `now`: UTC seconds of a run that goes on.
    """
    head = Table.grid(expand=True)
    head.add_column()
    head.add_column(justify="right")
    state = fold.status(alive=alive).state
    workers = f", {plural(len(fold.workers), 'worker')}" if fold.workers else ""
    head.add_row(Text.assemble((fold.name, "bold"), f"  attempt {fold.attempt}{workers}"),
                 Text.assemble((state, "yellow" if state == "draining" else "green"),
                               f"  {duration(fold.wall_seconds(now))}"))
    rows: list[RenderableType] = [head, _bar(fold)]
    if fold.stages:
        rows.append(_stages(fold))
    if fold.last_step:
        rows += [_numbers(fold, fold.last_step), _labelled("training", _losses(fold.last_step))]
    if fold.evaluations:
        latest = fold.evaluations[max(fold.evaluations)]
        rows.append(_labelled("holdout", f"{_losses(latest)}  (step {latest['step']})"))
    if fold.committed_step is not None:
        rows.append(_labelled("saved", f"step {fold.committed_step}"))
    return Group(*rows)


def _bar(fold: RunFold) -> Table:
    done = fold.last_step["step"] if fold.last_step else 0
    left = fold.eta_seconds()
    grid = Table.grid(expand=True, padding=(0, 1))
    grid.add_column(ratio=1)
    grid.add_column(justify="right", no_wrap=True)
    grid.add_row(ProgressBar(total=max(1, fold.steps), completed=done, pulse=not done),
                 f"step {done}/{fold.steps}" + (f"  {duration(left)} left" if left is not None else ""))
    return grid


def _stages(fold: RunFold) -> Text:
    text = Text("stage     ", style="dim")
    names = list(fold.stages)
    done = fold.last_step["step"] if fold.last_step else 0
    for index, name in enumerate(names):
        stage = fold.stages[name]
        inside = min(max(0, done - stage["step"] + 1), stage["steps"])
        current = index == len(names) - 1
        text.append(f"{name} {inside}/{stage['steps']}", style="bold" if current else "dim")
        text.append("" if current else " > ", style="dim")
    text.truncate(78, overflow="ellipsis")
    return text


def _numbers(fold: RunFold, step: dict[str, Any]) -> Table:
    parts = [f"loss {loss(step['loss'])}", f"rate {step['learning_rate']:.2e}", f"norm {norm(step['grad_norm'])}",
             *_speed(fold, eta=False)]
    if fold.memory:
        parts.append(f"memory {size(fold.memory)}")
    return _labelled("now", "  ".join(parts))


def _speed(fold: RunFold, *, eta: bool = True) -> list[str]:
    speed, left = fold.tokens_per_second(), fold.eta_seconds()
    return ([f"{count(speed)} tokens/s"] if speed else []) + ([f"{duration(left)} left"] if eta and left else [])


def _losses(event: dict[str, Any]) -> str:
    return "  ".join(f"{name} {loss(part['loss'])}" for name, part in event["sources"].items()
                     if part["supervised_tokens"])


def _labelled(label: str, text: str) -> Table:
    grid = Table.grid()
    grid.add_column(width=10, style="dim")
    grid.add_column(overflow="fold")
    grid.add_row(label, text)
    return grid
