"""What a person would type now, by where a run stands and what is left of it."""

import shlex

from launcher.core.errors import REFUSED, PlatformError, UserError
from launcher.report.fold import RunFold
from launcher.storage.checkpoints import Checkpoints
from launcher.storage.job_log import job_log
from launcher.storage.jobs import jobs_of
from launcher.storage.run_dir import RunDir
from launcher.storage.run_start import read_submission


def next_command(run: RunDir, shown: str, fold: RunFold, *, alive: bool = False) -> str:
    """Return the commands for a run. `shown` is its directory as the person knows it, `alive` whether it goes on."""
    if alive:
        return f"launcher logs {shown} -f    launcher stop {shown}"
    state = fold.status(alive=False).state
    if state == "finished":
        return f"launcher export {shown} OUT    launcher report {shown}"
    if nothing_left(run, fold):
        return f"{anew(run)}    launcher status {shown}"
    if jobs := jobs_of(run):
        # Not `launcher resume`, which would train on the machine that people log in to.
        # Of a run that stopped as asked, the job's output has no news.
        log = None if state == "yielded" else job_log(run, jobs[0])
        # As the person knows it, where it is in the run's directory.
        where = log and (f"{shown}/{log.name}" if log.parent == run.path and not run.remote else str(log))
        logs = f"less {where}    " if where else ""
        command = "`launcher submit`" if jobs[0].platform == "ray" else "`launcher submit` or sbatch"
        return f"{logs}the same {command} command {'goes on' if fold.attempt else 'starts it'}"
    if fold.end and fold.end["exit_code"] == REFUSED:
        # To resume would be to ask for the same again; the recipe, or what it names, is to be mended first.
        return f"launcher logs {shown}    {anew(run, shown)}"
    return f"launcher logs {shown}    launcher resume {shown}" if state == "failed" else f"launcher resume {shown}"


def nothing_left(run: RunDir, fold: RunFold) -> bool:
    """Return whether the run has saved and no checkpoint of it is there any more: to resume would fail again."""
    try:
        return fold.committed_step is not None and not Checkpoints(run).committed()
    except PlatformError:
        return False


def anew(run: RunDir, directory: str = "NEW") -> str:
    """Return the command that asks for a run as it was asked for, in another directory or the same."""
    jobs = jobs_of(run)
    command = ["launcher", "submit", "--on", jobs[0].platform] if jobs else ["launcher", "run"]
    try:
        asked = read_submission(run)
    except UserError:
        return f"{' '.join(command)} RECIPE --run-dir {directory}"
    options = (part for override in asked.overrides for part in ("--set", override))
    return shlex.join([*command, asked.origin or asked.file, *options, "--run-dir", directory])
