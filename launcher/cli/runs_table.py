"""The table that `launcher ls` prints.

Decides what is left out on a narrow terminal: a run's name stays whole, to be copied, and so does its state.
"""

import sys
from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

from launcher.cli.queue import Sight, brief
from launcher.report.fold import RunStatus
from launcher.report.words import duration, loss

GAP = 2
DISPENSABLE = ("left", "loss", "stage", "step")
"""Left out in this order, where lines would be too long."""
RIGHT = ("step", "loss", "left")


def print_runs(found: Mapping[str, tuple[RunStatus, Sight]], width: int | None) -> None:
    """Print a line for each run, by its directory, within a width if there is one."""
    rows = [_row(folder, *each) for folder, each in found.items()]
    names = fitting(rows, width)
    table = Table(box=None, padding=(0, GAP, 0, 0), header_style="dim")
    for name in names:
        table.add_column(name, justify="right" if name in RIGHT else "left", overflow="fold", no_wrap=name != "job")
    for row in rows:
        table.add_row(*(row[name] for name in names))
    # What does not fit even so is printed whole.
    needed = sum(_width(rows, name) + GAP for name in names)
    least = needed - (_width(rows, "job") - _width(rows, "job", words=True) if "job" in names else 0)
    Console(file=sys.stdout, width=needed if width is None else max(width, least)).print(table)


def fitting(rows: list[dict[str, str]], width: int | None) -> list[str]:
    """Return the columns that there is room for."""
    names = [name for name in rows[0] if name != "job" or any(row["job"] for row in rows)]
    for name in DISPENSABLE:
        if width is not None and sum(_width(rows, name) + GAP for name in names) > width:
            names.remove(name)
    return names


def _row(folder: str, status: RunStatus, seen: Sight) -> dict[str, str]:
    return {"run": folder, "state": status.state, "stage": status.stage or "", "step": f"{status.step}/{status.steps}",
            "loss": "" if status.loss is None else loss(status.loss),
            "left": "" if status.eta_seconds is None else duration(status.eta_seconds), "job": brief(seen)}


def _width(rows: list[dict[str, str]], name: str, *, words: bool = False) -> int:
    """Return how wide a column is, or its longest word."""
    return max(len(part) for text in (name, *(row[name] for row in rows))
               for part in ((text.split() or [""]) if words else [text]))
