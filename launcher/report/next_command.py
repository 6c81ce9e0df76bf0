"""What a person would type now, by where a run stands and what is left of it."""

import shlex
from pathlib import Path

from launcher.core.errors import PlatformError, UserError
from launcher.report.fold import RunFold
from launcher.storage.checkpoints import Checkpoints
from launcher.storage.jobs import jobs_of
from launcher.storage.run_dir import RunDir
from launcher.storage.run_start import read_submission


def next_command(run: RunDir, shown: str, fold: RunFold, *, alive: bool = False) -> str:
    """Return the commands for a run. `shown` is its directory as the person knows it, `alive` whether it goes on."""
    if alive:
        return f"launcher logs {shown} -f    launcher stop {shown}"
    state = fold.status(alive=False).state
    if state == "finished":
        return f"launcher export {shown} OUT    launcher status {shown}"
    if nothing_left(run, fold):
        return f"{anew(run)}    launcher status {shown}"
    if jobs := jobs_of(run):
        # Not `launcher resume`, which would train on the machine that people log in to.
        log = RunDir.SLURM_LOG.replace("%j", jobs[0].job)
        # A run in an object store has the log in the folder in which its job worked.
        here, where = (jobs[0].folder, jobs[0].folder) if run.remote else (run.path, shown)
        there = jobs[0].platform == "slurm" and bool(here) and (Path(here) / log).exists()
        logs = f"less {where}/{log}    " if there else ""
        command = "`launcher submit`" if jobs[0].platform == "ray" else "`launcher submit` or sbatch"
        return f"{logs}the same {command} command {'goes on' if fold.attempt else 'starts it'}"
    return f"launcher logs {shown}    launcher resume {shown}" if state == "failed" else f"launcher resume {shown}"


def nothing_left(run: RunDir, fold: RunFold) -> bool:
    """Return whether the run has saved and no checkpoint of it is there any more: to resume would fail again."""
    try:
        return fold.committed_step is not None and not Checkpoints(run).committed()
    except PlatformError:
        return False


def anew(run: RunDir) -> str:
    """Return the command that begins the same run in another directory."""
    jobs = jobs_of(run)
    command = ["launcher", "submit", "--on", jobs[0].platform] if jobs else ["launcher", "run"]
    try:
        asked = read_submission(run)
    except UserError:
        return f"{' '.join(command)} RECIPE --run-dir NEW"
    options = (part for override in asked.overrides for part in ("--set", override))
    return shlex.join([*command, asked.origin or asked.file, *options, "--run-dir", "NEW"])
