"""`launcher submit RECIPE --on slurm`: the run as a job, by the batch script that people may submit by hand as well.

Parses and prints. The command is `platforms.sbatch`; what the job does is `platforms.slurm_job`.
"""

import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from launcher.core.errors import PlatformError
from launcher.core.recipe_running import SlurmOptions
from launcher.platforms.sbatch import PYTHON, job_number, nodes_of, sbatch_command
from launcher.platforms.slurm_chain import link, own_options
from launcher.platforms.slurm_client import slurm
from launcher.platforms.slurm_told import told_by
from launcher.storage.journal import read_journal
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
    chain: int = 1
    """Jobs, each of which waits for the one before."""


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
    refuse_held(run)
    # sbatch takes a log in a folder that is not there, and the job then ends without a word.
    run.path.mkdir(parents=True, exist_ok=True)
    os.environ[PYTHON] = sys.executable
    jobs = _submit(command, options.chain)
    told = f"job {jobs[0]} is" if len(jobs) == 1 else f"jobs {', '.join(map(str, jobs))} are"
    print(f"{told} submitted\nlog    {shown}/{RunDir.SLURM_LOG.replace('%j', str(jobs[0]))}\n"
          f"next   squeue --job {','.join(map(str, jobs))}    launcher status {shown}    launcher stop {shown}")
    return 0


def _submit(command: list[str], links: int) -> list[int]:
    """Submit a job, and the links of its chain behind it; return their numbers."""
    jobs = [job_number(slurm(*command))]
    while len(jobs) < links:
        jobs.append(job_number(slurm(*link(command, jobs[-1]))))
    return jobs


def _command(loaded: LoadedRecipe, recipe: str, shown: str, options: SubmitOptions) -> list[str]:
    wish, script = loaded.recipe.cluster, shipped("slurm", SCRIPT)
    if script is None:
        raise PlatformError(f"slurm/{SCRIPT} is not where launcher is installed; install it again")
    given = [("--workers", options.workers), ("--cache", options.cache), *(("--set", each) for each in
                                                                          options.overrides)]
    arguments = [recipe, "--run-dir", shown, *(str(word) for name, value in given if value is not None
                                               for word in (name, value))]
    asked, nodes = loaded.recipe.slurm or SlurmOptions(), nodes_of(wish, options.nodes)
    # What a person says in the recipe stands.
    extra = own_options(told_by(read_journal(RunDir(shown))), wish, nodes, asked.time) | asked.extra
    gpus = None if options.workers else wish.gpus_per_node
    return sbatch_command(str(script), loaded.recipe.name, str(Path(shown).absolute() / RunDir.SLURM_LOG),
                          asked.model_copy(update={"extra": extra}), nodes, gpus, arguments)


def _describe(command: list[str]) -> None:
    """Print the command, the script and the names in the environment that the job would have: never a value."""
    script = next(word for word in command if word.endswith(SCRIPT))
    names = " ".join(sorted({*os.environ, PYTHON}))
    print(f"command\n{shlex.join(command)}\n\nscript {script}\n{Path(script).read_text()}\n"
          f"environment, by name (the job gets the values through --export=ALL)\n{names}\n\n"
          f"{PYTHON} would be {sys.executable}; nothing was submitted")
