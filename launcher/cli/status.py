"""The bodies of `launcher status` and `launcher ls`: what the journals say of runs."""

import json
import sys

from rich.console import Console
from rich.table import Table

from launcher.cli.find_run import find_run, run_folders
from launcher.report.fold import RunFold, RunStatus
from launcher.report.panel import panel
from launcher.report.next_command import next_command
from launcher.report.summary import told_failures
from launcher.report.words import duration, loss
from launcher.storage.journal import read_journal
from launcher.storage.lock import holder_of
from launcher.storage.run_dir import RunDir


def status(argument: str, *, as_json: bool) -> None:
    """Print where a run stands."""
    run, shown = find_run(argument)
    fold = RunFold(read_journal(run))
    alive = holder_of(run) is not None
    if as_json:
        sys.stdout.write(fold.status(alive=alive).to_json())
        return
    console = Console(file=sys.stdout)
    console.print(panel(fold, alive=alive))
    if fold.failures:
        console.print(told_failures(run, shown, fold).rstrip(), highlight=False, markup=False, soft_wrap=True)
    console.print(f"next      {next_command(run, shown, fold, alive=alive)}", highlight=False, soft_wrap=True)


def ls(*, as_json: bool) -> None:
    """Print a line for each run under runs/."""
    found = {str(folder): _status(RunDir(folder)) for folder in run_folders()}
    if as_json:
        rows = [{"run_dir": folder, **status.model_dump(mode="json")} for folder, status in found.items()]
        sys.stdout.write(json.dumps(rows, indent=1) + "\n")
    elif found:
        Console(file=sys.stdout).print(_table(found))
    else:
        sys.stdout.write("no runs under runs/\nnext: launcher run quickstart\n")


def _status(run: RunDir) -> RunStatus:
    return RunFold(read_journal(run)).status(alive=holder_of(run) is not None)


def _table(found: dict[str, RunStatus]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("run", "state", "stage", "step", "loss", "left"):
        table.add_column(name, justify="right" if name in ("step", "loss", "left") else "left")
    for folder, status in found.items():
        table.add_row(folder, status.state, status.stage or "", f"{status.step}/{status.steps}",
                      "" if status.loss is None else loss(status.loss),
                      "" if status.eta_seconds is None else duration(status.eta_seconds))
    return table
