"""Slurm's own commands: asking what it knows of a job, and asking it for things.

Decides how answers are read, nothing else. Needs no accounting: `scontrol` knows all that counts of a living job.
"""

import os
import re
import subprocess
from collections.abc import Sequence

from launcher.core.errors import PlatformError
from launcher.platforms.slurm_queue import UNKNOWN_JOB, QueuedJob, queued_jobs, squeue_command

CALL_S = 60.0
"""A busy controller answers late, and a job's end must not wait for one that never does."""
LOOK_S = 5.0
"""For a person who looks at a run: its files tell most of it without Slurm."""


def fields(shown: str) -> dict[str, str]:
    """Return what `scontrol --oneliner show` says, by name."""
    return dict(re.findall(r"(\S+?)=(.*?)(?=\s+\S+?=|\s*$)", shown.strip()))


def show_job(job: int) -> dict[str, str]:
    """Return what Slurm knows of a job; times are UTC seconds. Raises PlatformError."""
    return fields(slurm("scontrol", "--oneliner", "show", "job", str(job), SLURM_TIME_FORMAT="%s"))


def host_names(nodes: str) -> list[str]:
    """Return the names in a list like `node[1-3,7]`, in its order. Raises PlatformError."""
    return slurm("scontrol", "show", "hostnames", nodes).split()


def requeue(job: int) -> None:
    """Let a job begin again from its script. Raises PlatformError where the cluster or the job forbids it."""
    slurm("scontrol", "requeue", str(job))


def look_up(jobs: Sequence[int]) -> dict[int, QueuedJob]:
    """Return what Slurm's queue has of some jobs, by number; what it has forgotten is left out. Raises PlatformError
    where there is no Slurm, or none that answers in a moment."""
    try:
        return queued_jobs(slurm(*squeue_command(jobs), patience_s=LOOK_S, SLURM_TIME_FORMAT="%s"))
    except PlatformError as error:
        if UNKNOWN_JOB in str(error):
            return {}
        raise


def cancel(job: int) -> None:
    """End a job; one that waits never begins. Raises PlatformError."""
    slurm("scancel", str(job))


def slurm(*command: str, patience_s: float = CALL_S, **environment: str) -> str:
    """Return what one of Slurm's commands printed, with these added to its environment. Raises PlatformError with what
    it said if it failed."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=patience_s, check=False,
                              env=os.environ | environment)
    except FileNotFoundError:
        raise PlatformError(f"{command[0]}: no such command here; is this a machine of a Slurm cluster?") from None
    except subprocess.TimeoutExpired:
        raise PlatformError(f"{_shown(command)}: no answer within {patience_s:.0f} s") from None
    if done.returncode:
        raise PlatformError(f"{_shown(command)}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def _shown(command: Sequence[str]) -> str:
    return " ".join(command[:2])
