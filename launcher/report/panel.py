"""The block that shows where a run stands, within 80 columns: the live view redraws it, `status` prints it.

Shows and decides nothing. What is known is `report.fold`.
"""

from typing import Any

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from launcher.core.events import RunState
from launcher.report.fold import RunFold
from launcher.report.forgetting import forgotten_line
from launcher.report.scores import has_scores, scores_of
from launcher.report.verdicts import verdict_line
from launcher.report.words import count, duration, loss, norm, plural, reason, size

SHOWN_RESTARTS = SHOWN_VERDICTS = 3
"""The latest; the journal has them all."""
ROOM = 70
"""Letters beside a label."""
GOODPUT_AFTER_S = 60.0
"""Before that it only says that starting takes time."""
COLOURS = {"draining": "yellow", "saving": "yellow", "restarting": "yellow", "failed": "red", "interrupted": "red"}
"""Of states that ask for a look; the others are green."""


def panel(fold: RunFold, *, alive: bool = True, now: float | None = None, state: RunState | None = None,
          facts: RenderableType | None = None, mfu: float | None = None) -> Group:
    """Return the block that a terminal shows; it fits 80 columns.

    `alive`: whether a controller holds the run. `now`: UTC seconds of a run that goes on. `state`: where more is known
    than the journal says. `facts`: what tells losses, holdouts and where the time went in more than a line.
    """
    head = Table.grid(expand=True)
    head.add_column()
    head.add_column(justify="right")
    state = state or fold.status(alive=alive).state
    workers = f", {plural(len(fold.workers), 'worker')}" if fold.workers else ""
    head.add_row(Text.assemble((fold.name, "bold"), f"  attempt {fold.attempt}{workers}"),
                 Text.assemble((state, COLOURS.get(state, "green")), _worked(fold, state, now)))
    rows: list[RenderableType] = [head, _bar(fold, fold.eta_seconds() if alive else None)]
    if fold.stages:
        rows.append(_stages(fold))
    if fold.last_step:
        rows += _numbers(fold, fold.last_step, mfu, alive=alive, brief=facts is not None)
    rows += [facts] if facts is not None else _losses(fold)
    if scored := [event for _, event in sorted(fold.evaluations.items()) if has_scores(event)]:
        rows.append(labelled("scores", f"{scores_of(scored[-1])}  (step {scored[-1]['step']})"))
    rows += _verdicts(fold.verdicts)
    if told := fold.stragglers.line():
        rows.append(labelled("straggler", told))
    if alive and fold.stop and not fold.end:
        rows.append(labelled("stopping", f"{reason(fold.stop)}: workers finish their step and save"))
    if fold.committed_step is not None:
        ago = f", {duration(max(0.0, now - fold.committed_time))} ago" if now and fold.committed_time else ""
        rows.append(labelled("saved", f"step {fold.committed_step}{ago}"))
    if told := fold.restarts.told() if alive else fold.restarts.done:
        rows += [_one_line("restarts" if index == 0 else "", restart.line())
                 for index, restart in enumerate(told[-SHOWN_RESTARTS:])]
    if facts is None and (goodput := _goodput(fold)):
        rows.append(labelled("goodput", goodput))
    return Group(*rows)


def _losses(fold: RunFold) -> list[RenderableType]:
    """Return the last losses, of training and on holdouts, and what is forgotten."""
    rows: list[RenderableType] = []
    if fold.last_step:
        rows.append(labelled("training", losses_of(fold.last_step)))
    if fold.evaluations:
        latest = fold.evaluations[max(fold.evaluations)]
        rows.append(labelled("holdout", f"{losses_of(latest)}  (step {latest['step']})"))
    if told := forgotten_line(fold.matrix):
        rows.append(labelled("forgotten", told))
    return rows


def _verdicts(verdicts: list[dict[str, Any]]) -> list[RenderableType]:
    """Return what was decided after evaluations: the last one whole, those before in a line each."""
    shown = [f"step {event['step']}: {verdict_line(event)}" for event in verdicts[-SHOWN_VERDICTS:]]
    return [labelled("decided" if not number else "", told) if number == len(shown) - 1
            else _one_line("decided" if not number else "", told, "") for number, told in enumerate(shown)]


def _worked(fold: RunFold, state: RunState, now: float | None) -> str:
    """Return for how long the run has worked, which beside a run that waits would look like its waiting."""
    worked = fold.wall_seconds(now)
    if not fold.attempt and not worked:
        return ""
    return f", has worked {duration(worked)}" if state == "queued" else f"  {duration(worked)}"


def _goodput(fold: RunFold) -> str:
    """Return the share of time that went into steps that count, once it says something."""
    share, wall = fold.goodput(), fold.wall_seconds()
    done = fold.restarts.done
    if share is None or (wall < GOODPUT_AFTER_S and not done):
        return ""
    lost = f", {duration(fold.restarts.lost_seconds())} lost in {plural(len(done), 'restart')}" if done else ""
    return f"{share:.1%} of {duration(wall)}{lost}"


def _bar(fold: RunFold, left: float | None) -> Table:
    done = fold.last_step["step"] if fold.last_step else 0
    grid = Table.grid(expand=True, padding=(0, 1))
    grid.add_column(ratio=1)
    grid.add_column(justify="right", no_wrap=True)
    grid.add_row(ProgressBar(total=max(1, fold.steps), completed=done, pulse=not done),
                 f"step {done}/{fold.steps}" + (f"  {duration(left)} left" if left is not None else ""))
    return grid


def _stages(fold: RunFold) -> Text:
    """Return the stages that have begun, as many of the last ones as fit a line."""
    done = fold.last_step["step"] if fold.last_step else 0
    told = [f"{name} {min(max(0, done - stage['step'] + 1), stage['steps'])}/{stage['steps']}"
            for name, stage in fold.stages.items()]
    segment = fold.last_step.get("segment") if fold.last_step else None
    engine = f"  engine {segment + 1}" if segment else ""
    shown = len(told)
    while shown > 1 and len(" > ".join(["...", *told[-shown:]]) + engine) > ROOM:
        shown -= 1
    before = " > ".join([*(["..."] if shown < len(told) else []), *told[len(told) - shown:-1], ""])
    return Text.assemble((f"stage     {before}", "dim"), (told[-1], "bold"), (engine, "dim"), no_wrap=True,
                         overflow="ellipsis")


def _numbers(fold: RunFold, step: dict[str, Any], mfu: float | None, *, alive: bool,
             brief: bool) -> list[RenderableType]:
    parts = [f"loss {loss(step['loss'])}", f"rate {step['learning_rate']:.2e}", f"norm {norm(step['grad_norm'])}",
             *([] if brief else speed(fold, eta=False))]
    if mfu is not None:
        parts.append(f"MFU {mfu:.1%}")
    rows: list[RenderableType] = [labelled("now" if alive and not fold.end else "last", "  ".join(parts))]
    on_gpu = step.get("device_memory_bytes")
    used = [size(fold.memory)] if fold.memory else []
    used += [f"{size(on_gpu)} of {step['device']}"] if on_gpu else []
    return [*rows, labelled("memory", f"{', '.join(used)} (rank 0)")] if used else rows


def speed(fold: RunFold, *, eta: bool = True) -> list[str]:
    """Return the speed and the time left, as far as they are known."""
    speed, left = fold.tokens_per_second(), fold.eta_seconds()
    return ([f"{count(speed)} tokens/s"] if speed else []) + ([f"{duration(left)} left"] if eta and left else [])


def losses_of(event: dict[str, Any]) -> str:
    """Return the losses of a step or evaluation by source, and in brackets the share of tokens that are right."""
    return "  ".join(f"{name} {loss(part['loss'])}{_right(part)}" for name, part in event["sources"].items()
                     if part["supervised_tokens"])


def _right(part: dict[str, Any]) -> str:
    share = part.get("accuracy")
    return "" if share is None else f" ({share:.1%})"


def _one_line(label: str, text: str, style: str = "yellow") -> Text:
    return Text.assemble((f"{label:<10}", "dim"), (text, style), no_wrap=True, overflow="ellipsis")


def labelled(label: str, text: str) -> Table:
    """Return text behind its label, in lines that fit."""
    grid = Table.grid()
    grid.add_column(width=10, style="dim")
    grid.add_column(overflow="fold")
    grid.add_row(label, Text(text))
    return grid
