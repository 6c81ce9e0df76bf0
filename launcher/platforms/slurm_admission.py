"""What a job does before anything is started: finds out what it is, what it is for, and whether it is needed.

Decides which job leaves at once, and with which exit code. What one that stays does is `slurm_job`'s.
"""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from launcher.core.errors import INFRASTRUCTURE, YIELDED, PlatformError
from launcher.platforms.slurm_client import show_job
from launcher.platforms.slurm_command import Asked, asked
from launcher.platforms.slurm_environment import JOB, Allocation, allocation, refuse_uneven_gpus, submitted
from launcher.platforms.slurm_log import say, write_on_in
from launcher.platforms.slurm_told import Event, told_by
from launcher.platforms.slurm_verdict import VANISHED, needless, vanished_attempts, why_needless
from launcher.storage.jobs import job_record, record_began
from launcher.storage.journal import read_journal
from launcher.storage.lock import refuse_held
from launcher.storage.run_dir import RunDir


@dataclass(frozen=True, slots=True)
class Admitted:
    """A job that has something to do."""

    job: Allocation
    wanted: Asked
    shown: Mapping[str, str]
    """What Slurm knows of it."""


def admit(arguments: Sequence[str] | None = None) -> Admitted | int:
    """Return this job, or the exit code with which it leaves at once. Raises LauncherError, and OSError where the run
    cannot be read."""
    shown = _shown(os.environ.get(JOB))
    job = allocation(os.environ, shown)
    refuse_uneven_gpus(os.environ)
    wanted = asked(arguments, job.task)
    run = RunDir(wanted.run_dir)
    # Of a run in an object store the folder is this node's own: the log that sbatch has made must do.
    if job.task is not None and not run.remote:
        write_on_in(run, job.handle, job.task)
    # Once for both questions: in an object store it is fetched, and may be long.
    events = list(read_journal(run))
    if (code := _needless(events, wanted, submitted(shown))) is not None:
        return code
    if _stopped(job, wanted, shown):
        return YIELDED
    if _in_vain(events, job, wanted):
        return INFRASTRUCTURE
    # Before Ray is started on all nodes for nothing; whoever comes at the same moment is refused by the controller.
    refuse_held(run, say)
    return Admitted(job, wanted, shown)


def _shown(job: str | None) -> dict[str, str]:
    """Return what Slurm knows of this job. Where it does not tell, its signals must do."""
    try:
        return {} if job is None else show_job(job)
    except PlatformError as error:
        say(f"note: {error}")
        return {}


def _needless(events: Sequence[Event], wanted: Asked, submit_time: float | None) -> int | None:
    """Return with which code to leave because nobody is needed any more; None if there is something to do."""
    end = told_by(events).end
    code = needless(end, submit_time)
    if end is not None and code is not None:
        say(f"{wanted.run_dir} {why_needless(end)}")
    return code


def _stopped(job: Allocation, wanted: Asked, shown: Mapping[str, str]) -> bool:
    """Return whether `launcher stop` meant this job, which Slurm was just ending and has queued again since."""
    run = RunDir(wanted.run_dir)
    record = job_record(run, job.handle)
    if record is None or not record.stopped:
        return False
    # Whoever has Slurm queue it once more means it.
    record_began(run, job.handle, time.time(), allocations=job.restarts + 1, folder=shown.get("WorkDir", ""))
    say(f"`launcher stop` asked this job to stop before it was queued again, so it leaves; submit {wanted.run_dir} "
        "again to go on")
    return True


def _in_vain(events: Sequence[Event], job: Allocation, wanted: Asked) -> bool:
    """Return whether this job was queued again and again and nothing came of it: somebody has to look at it."""
    record = job_record(RunDir(wanted.run_dir), job.handle)
    # A preemption before anything could be saved leaves no word in the journal either, but the job itself saw it.
    if record is None or min(record.unseen_ends, vanished_attempts(events, record.time)) < VANISHED:
        return False
    say(f"{VANISHED} attempts in a row went without a word and saved nothing new, so the job leaves. Does the run "
        f"take its nodes along (memory)? `launcher logs {wanted.run_dir}` shows last words; submit again to go on")
    return True
