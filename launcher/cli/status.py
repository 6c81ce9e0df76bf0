"""The bodies of `launcher status` and `launcher ls`: what the journals say of runs, also of those that died."""

import json
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from launcher.cli.find_run import find_run, run_folders
from launcher.cli.following import follow
from launcher.core.errors import UserError
from launcher.report.fold import RunFold, RunStatus
from launcher.report.next_command import next_command
from launcher.report.panel import panel
from launcher.report.summary import told_failures
from launcher.report.words import duration, loss
from launcher.storage.journal import read_journal
from launcher.storage.lease import Claim
from launcher.storage.lock import HolderWatch, living_holders
from launcher.storage.run_dir import RunDir

WATCH_S = 1.0


def status(argument: str, *, as_json: bool, watch: bool = False) -> None:
    """Print where a run stands; with `watch`, again and again until nobody works on it."""
    run, shown = find_run(argument)
    if watch and as_json:
        _print_changes(run)
        return
    if watch:
        # Whoever has seen enough types Ctrl-C and reads the last state.
        with suppress(KeyboardInterrupt):
            follow(run, Console(file=sys.stdout))
    fold = RunFold(read_journal(run))
    holder, = living_holders([run], _tell)
    if as_json:
        sys.stdout.write(json.dumps(status_fields(run, fold, holder), indent=1) + "\n")
    else:
        _print(run, shown, fold, holder)


def status_fields(run: RunDir, fold: RunFold, holder: Claim | None) -> dict[str, Any]:
    """Return what `--json` prints of a run."""
    known = fold.status(alive=holder is not None).model_dump(mode="json")
    return {**known, "restarts": len(fold.restarts.done), "run_dir": run.url,
            "holder": None if holder is None else str(holder)}


def _print(run: RunDir, shown: str, fold: RunFold, holder: Claim | None) -> None:
    console = Console(file=sys.stdout)
    alive, now = holder is not None, time.time()
    console.print(panel(fold, alive=alive, now=now if alive else None))
    if fold.failures and fold.end:
        console.print(told_failures(run, shown, fold).rstrip(), highlight=False, markup=False, soft_wrap=True)
    console.print(_heard(fold, holder, now), highlight=False)
    console.print(f"next      {next_command(run, shown, fold, alive=alive)}", highlight=False, soft_wrap=True)


def _heard(fold: RunFold, holder: Claim | None, now: float) -> str:
    """Return who works on the run, or since when nobody does."""
    ago = f"{duration(max(0.0, now - fold.last_time))} ago" if fold.last_time else "never"
    if holder is not None:
        return f"holder    {holder}, last event {ago}"
    return f"{'ended' if fold.end else 'heard':<10}{ago}"


def _print_changes(run: RunDir) -> None:
    """Print the status as one line of JSON each time it has changed, until nobody works on the run."""
    holder, before = HolderWatch(run), ""
    while True:
        held = holder.look()
        now = json.dumps(status_fields(run, RunFold(read_journal(run)), held))
        if now != before:
            sys.stdout.write(now + "\n")
            sys.stdout.flush()
        if held is None:
            return
        before = now
        time.sleep(WATCH_S)


def ls(directory: str | None, *, as_json: bool) -> None:
    """Print a line for each run at and below a directory, runs/ by default."""
    root = Path(directory or "runs")
    if directory is not None and not root.is_dir():
        raise UserError(f"{directory}: no such directory; `launcher ls` lists what is below runs/")
    folders = run_folders(root)
    holders = living_holders([RunDir(folder) for folder in folders], _tell)
    found = {str(folder): RunFold(read_journal(RunDir(folder))).status(alive=holder is not None)
             for folder, holder in zip(folders, holders, strict=True)}
    if as_json:
        rows = [{"run_dir": folder, **known.model_dump(mode="json")} for folder, known in found.items()]
        sys.stdout.write(json.dumps(rows, indent=1) + "\n")
    elif found:
        Console(file=sys.stdout).print(_table(found))
        sys.stdout.write(f"next: launcher status {next(iter(found))}\n")
    else:
        sys.stdout.write(f"no runs under {root}/\nnext: launcher run quickstart\n")


def _table(found: dict[str, RunStatus]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("run", "state", "stage", "step", "loss", "left"):
        table.add_column(name, justify="right" if name in ("step", "loss", "left") else "left", overflow="fold",
                         no_wrap=name not in ("run", "stage"))
    for folder, status in found.items():
        table.add_row(folder, status.state, status.stage or "", f"{status.step}/{status.steps}",
                      "" if status.loss is None else loss(status.loss),
                      "" if status.eta_seconds is None else duration(status.eta_seconds))
    return table


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")
