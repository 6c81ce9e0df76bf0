"""`launcher submit RECIPE --on slurm`: the run as a job, by the batch script that people may submit by hand as well.

Parses and prints. The command is `platforms.sbatch`; what the job does is `platforms.slurm_job`.
"""

import os
import shlex
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from launcher.cli.queue import refuse_queued
from launcher.core.errors import PlatformError
from launcher.core.recipe_running import SlurmOptions
from launcher.platforms.sbatch import PYTHON, job_number, nodes_of, sbatch_command
from launcher.platforms.slurm_client import slurm
from launcher.storage.jobs import record_submitted
from launcher.storage.lock import refuse_held
from launcher.storage.recipes import LoadedRecipe, load_recipe
from launcher.storage.run_dir import RunDir, default_run_dir
from launcher.storage.run_start import last_end
from launcher.storage.shipped import shipped

SCRIPT = "train.sbatch"


@dataclass(frozen=True)
class SubmitOptions:
    """What the command line says besides the recipe."""

    run_dir: str | None = None
    workers: int | None = None
    nodes: int | None = None
    overrides: tuple[str, ...] = ()
    cache: str | None = None


def submit(recipe: str, options: SubmitOptions, *, dry_run: bool) -> int:
    """Submit a recipe's run, or with `dry_run` print what would be; return the exit code."""
    loaded = load_recipe(recipe, options.overrides)
    loaded.require_data()
    shown = options.run_dir or default_run_dir(loaded.recipe.name)
    command = _command(loaded, recipe, shown, options)
    if dry_run:
        _describe(command)
        return 0
    run = RunDir(shown)
    ended = last_end(run)
    if ended is not None and ended.outcome == "finished" and not options.overrides:
        print(f"{loaded.recipe.name} is finished already: the model is in {shown}/{RunDir.MODEL}\n"
              f"next   launcher export {shown} OUT    launcher status {shown}")
        return 0
    refuse_queued(run, shown)
    refuse_held(run)
    # sbatch takes a log in a folder that is not there, and the job then ends without a word.
    run.path.mkdir(parents=True, exist_ok=True)
    os.environ[PYTHON] = sys.executable
    job = job_number(slurm(*command))
    with suppress(OSError):  # It is submitted, and records itself when it begins.
        record_submitted(run, job, time.time())
    print(f"job {job} is submitted\nlog    {shown}/{RunDir.SLURM_LOG.replace('%j', str(job))}\n"
          f"next   launcher status {shown}    launcher logs {shown} -f    launcher stop {shown}")
    return 0


def _command(loaded: LoadedRecipe, recipe: str, shown: str, options: SubmitOptions) -> list[str]:
    wish, script = loaded.recipe.cluster, shipped("slurm", SCRIPT)
    if script is None:
        raise PlatformError(f"slurm/{SCRIPT} is not where launcher is installed; install it again")
    given = [("--workers", options.workers), ("--cache", options.cache), *(("--set", each) for each in
                                                                          options.overrides)]
    arguments = [recipe, "--run-dir", shown, *(str(word) for name, value in given if value is not None
                                               for word in (name, value))]
    slurm_options = loaded.recipe.slurm or SlurmOptions()
    gpus = None if options.workers else wish.gpus_per_node
    return sbatch_command(str(script), loaded.recipe.name, str(Path(shown).absolute() / RunDir.SLURM_LOG),
                          slurm_options, nodes_of(wish, options.nodes), gpus, arguments)


def _describe(command: list[str]) -> None:
    """Print the command, the script and the names in the environment that the job would have: never a value."""
    script = next(word for word in command if word.endswith(SCRIPT))
    names = " ".join(sorted({*os.environ, PYTHON}))
    print(f"command\n{shlex.join(command)}\n\nscript {script}\n{Path(script).read_text()}\n"
          f"environment, by name (the job gets the values through --export=ALL)\n{names}\n\n"
          f"{PYTHON} would be {sys.executable}; nothing was submitted")
