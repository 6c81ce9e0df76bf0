"""`launcher submit RECIPE --on slurm`: the run as a job, by the batch script that people may submit by hand as well.

Parses and prints. What is submitted is `cli.submission`, the command `platforms.sbatch`, what the job does
`platforms.slurm_job`.
"""

import os
import shlex
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

from rich.console import Console

from launcher.cli.plan import headline, plan_of, prepared_before, print_plan
from launcher.cli.queue import refuse_queued
from launcher.cli.submission import Job, Run, SubmitOptions
from launcher.core.errors import LauncherError, PlatformError
from launcher.core.source_index import Prepared
from launcher.platforms import slurm_asking
from launcher.platforms.sbatch import job_number
from launcher.platforms.slurm_chain import link
from launcher.platforms.slurm_client import Unsure, start_estimate
from launcher.platforms.slurm_fit import request, workers_of
from launcher.report.fitting import columns, commands
from launcher.storage.jobs import record_submitted
from launcher.storage.run_dir import RunDir
from launcher.storage.run_start import change_of
from launcher.storage.submitted import CODE
from launcher.storage.submitting import Snapshot, discard

INTERRUPTED = 130
"""The exit code of what Ctrl-C ended, as shells have it."""

BY_JOB = ": the job prepares it on its first node, and may need the internet"


def submit(recipes: Sequence[str], options: SubmitOptions, *, dry_run: bool) -> int:
    """Submit recipes' runs, or with `dry_run` print what would be; return the exit code."""
    job = Job.of(recipes, options)
    os.environ.update(job.site_variables)
    if dry_run:
        _describe(job)
        return 0
    if all(run.nothing_to_do() for run in job.runs):
        return told_finished(job.runs)
    for run in job.runs:
        refuse_queued(run.directory, run.shown)
        run.refuse_held(_note)
    _refuse_unfit(job)
    try:
        prepared = [_prepare(run, job) for run in job.runs]
    except KeyboardInterrupt:
        sys.stderr.write("launcher: stopped, nothing was submitted; what is prepared is kept\n")
        return INTERRUPTED
    if all(data is not None and run.nothing_to_do(plan_of(run.loaded, data))
           for run, data in zip(job.runs, prepared, strict=True)):
        return told_finished(job.runs)
    return _submit(job, job.snapshots(prepared))


def told_finished(runs: Sequence[Run]) -> int:
    """Tell that runs have finished, and what to type next; return the exit code."""
    return max(told_ended(run.name, run.shown) for run in runs)


def told_ended(name: str, shown: str) -> int:
    """Tell that one run has finished; return the exit code."""
    print(f"{name} is finished already: the model is in {shown}/{RunDir.MODEL}\n"
          f"next   launcher export {shown} OUT    launcher status {shown}")
    return 0


def _note(line: str) -> None:
    sys.stderr.write(f"launcher: {line}\n")


def _prepare(run: Run, job: Job) -> Prepared | None:
    """Fetch and prepare what a run needs, and see that it can be planned; return None where the job must do so."""
    # Beside the result, so that scripts read the job's number first.
    console = Console(highlight=False, soft_wrap=True, markup=False, stderr=True)
    if not job.options.prepare:
        console.print(f"{run.name} is not prepared here{BY_JOB}")
        return None
    try:
        if run.loaded.recipe.model.path is not None:
            console.print(f"model  {run.loaded.recipe.model.path}: fetched unless it is here")
        prepared = run.prepare(job.cache, console)
    except ImportError as error:
        console.print(f"{run.name} cannot be prepared here ({error}){BY_JOB}")
        return None
    made = plan_of(run.loaded, prepared)
    if run.begun():
        change_of(run.directory, made)  # Refused here rather than when the job's turn has come.
    console.print(headline(made))
    return prepared


def _submit(job: Job, snapshots: Sequence[Snapshot]) -> int:
    new = [snapshot.folder(run.folder) for run, snapshot in zip(job.runs, snapshots, strict=True)
           if not snapshot.folder(run.folder).exists()]
    for run, snapshot in zip(job.runs, snapshots, strict=True):
        snapshot.keep(run.folder)
    numbers, refused = _queue(job, snapshots)
    if refused is not None and not numbers:
        # A job that was taken after all would find nothing to run.
        for copy in [] if isinstance(refused, Unsure) else new:
            discard(copy)
        raise refused
    for task, run in enumerate(job.runs):
        for number in numbers:
            with suppress(OSError):  # It is submitted, and records itself when it begins.
                record_submitted(run.directory, _called(job, number, task), time.time(), job.folder)
    _tell(job, numbers, snapshots)
    if refused is not None:
        sys.stderr.write(f"launcher: {len(numbers)} of {job.options.chain} links are submitted: {refused}\n")
        return refused.exit_code
    return 0


def _queue(job: Job, snapshots: Sequence[Snapshot]) -> tuple[list[int], LauncherError | None]:
    """Submit a job, and the links of its chain behind it; return the numbers of those that Slurm took, and its refusal
    of the next one."""
    command, environment = job.command(snapshots), job.environment(snapshots)
    numbers: list[int] = []
    try:
        while len(numbers) < job.options.chain:
            following = link(command, numbers[-1]) if numbers else command
            numbers.append(job_number(slurm_asking.submit(following, environment)))
    except LauncherError as error:
        return numbers, error
    return numbers, None


def _called(job: Job, number: int, task: int) -> str:
    """Return what Slurm's commands call the job of one run."""
    return f"{number}_{task}" if len(job.runs) > 1 else str(number)


def _tell(job: Job, numbers: Sequence[int], snapshots: Sequence[Snapshot]) -> None:
    number = numbers[0]
    print(f"job {number} is submitted" if len(numbers) == 1 else f"jobs {', '.join(map(str, numbers))} are submitted")
    for task, (run, snapshot) in enumerate(zip(job.runs, snapshots, strict=True)):
        log = run.log.replace("%j", _called(job, number, task))
        if run.directory.remote:
            print(f"run    {run.shown}, which every node must reach; they must see the folder {run.works}, too")
        print(f"log    {log}\nruns   what is in {run.works}/{RunDir.SUBMITTED}/{snapshot.name}")
    for line in dict.fromkeys(line for snapshot in snapshots for line in copied(snapshot)):
        print(f"copied {line}")
    if left := job.left_out:
        print(f"left   {', '.join(left)}: failed this run too often (--set slurm.extra.exclude=false takes all nodes)")
    shown = job.runs[0].shown
    following = f"launcher status {shown}    launcher logs {shown} -f    launcher stop {shown}"
    print(commands("next   ", following, columns(sys.stdout)))


def copied(snapshot: Snapshot) -> list[str]:
    """Return what a copy holds, in lines; data is in it only where that was asked for, models are never."""
    own = {name: content for name, content in snapshot.contents.items() if not name.startswith(f"{CODE}/")}
    code = [len(content) for name, content in snapshot.contents.items() if name.startswith(f"{CODE}/")]
    lines = [f"{snapshot.described.origins[name]}  {len(content):,} bytes" for name, content in own.items()]
    if code:
        lines.append(f"launcher's own code, {len(code)} files, {sum(code):,} bytes")
    return [*lines, *(f"without {line}" for line in snapshot.described.left_out)]


def _describe(job: Job) -> None:
    """Print what would be submitted: never a value of the environment."""
    prepared = [prepared_before(run.loaded, job.cache) for run in job.runs]
    snapshots = job.snapshots(prepared)
    command, environment = job.command(snapshots), job.environment(snapshots)
    slurm_asking.refuse_unfit(command, {**os.environ, **environment})
    names = " ".join(sorted({*os.environ, *environment}))
    print(f"command\n{shlex.join(command)}\n\nscript {job.script}\n{job.script.read_text()}\n"
          f"environment, by name (the job gets the values through --export=ALL)\n{names}")
    if job.site is not None:
        print(f"\nsite {job.site.file}, which sets\n{' '.join(job.site.settings) or 'nothing'}")
    for run, snapshot, data in zip(job.runs, snapshots, prepared, strict=True):
        print(f"\nwould be copied to {snapshot.folder(run.folder).parent} (data and models are not)")
        print("\n".join(copied(snapshot)) + "\n")
        print_plan(plan_of(run.loaded, data), run.loaded.recipe, _workers(run, job, command))
        print(_data_line(job.options, data))
    if left := job.left_out:
        print(f"left out  {', '.join(left)}, which failed this run too often")
    if (more := job.options.chain - 1) > 0:
        print(f"chain    {more} more of the same behind it, each with --dependency=afterany:JOB of the one before")
    print(f"start    {_start(command, environment)}\nnothing was submitted")


def _refuse_unfit(job: Job) -> None:
    """Raise UserError for what Slurm can never run: before data is prepared for it, which may take hours."""
    snapshots = job.snapshots([None] * len(job.runs))
    slurm_asking.refuse_unfit(job.command(snapshots), {**os.environ, **job.environment(snapshots)})


def _workers(run: Run, job: Job, command: Sequence[str]) -> int | None:
    """Return how many workers the run will have in its job, if that is known."""
    wish, asked = run.loaded.recipe.cluster, request(command, os.environ)
    nodes = max(1, asked.nodes - wish.spares) if wish.nodes is None else min(asked.nodes, wish.nodes)
    return job.options.workers or wish.workers or workers_of(asked, nodes)


def _data_line(options: SubmitOptions, prepared: Prepared | None) -> str:
    if prepared is not None:
        return "data     is prepared; the job reads the cache alone"
    return f"data     would be prepared {'here, before submitting' if options.prepare else 'by the job'}"


def _start(command: Sequence[str], environment: dict[str, str]) -> str:
    try:
        return start_estimate(command, environment)
    except PlatformError as error:
        return f"not known: {str(error).splitlines()[-1]}"
