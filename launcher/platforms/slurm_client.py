"""Slurm's own commands: asking what it knows of a job, and asking it for things.

Decides how answers are read, nothing else. Needs no accounting: `scontrol` knows all that counts of a living job.
"""

import os
import re
import subprocess
from collections.abc import Sequence

from launcher.core.errors import PlatformError

CALL_S = 60.0
"""A busy controller answers late, and a job's end must not wait for one that never does."""


def fields(shown: str) -> dict[str, str]:
    """Return what `scontrol --oneliner show` says, by name."""
    return dict(re.findall(r"(\S+?)=(.*?)(?=\s+\S+?=|\s*$)", shown.strip()))


def show_job(job: int | str) -> dict[str, str]:
    """Return what Slurm knows of a job; times are UTC seconds. Raises PlatformError."""
    return fields(slurm("scontrol", "--oneliner", "show", "job", str(job), SLURM_TIME_FORMAT="%s"))


def host_names(nodes: str) -> list[str]:
    """Return the names in a list like `node[1-3,7]`, in its order. Raises PlatformError."""
    return slurm("scontrol", "show", "hostnames", nodes).split()


def requeue(job: int | str) -> None:
    """Let a job begin again from its script. Raises PlatformError where the cluster or the job forbids it."""
    slurm("scontrol", "requeue", str(job))


def node_names() -> frozenset[str]:
    """Return the names of the cluster's nodes. Raises PlatformError."""
    return frozenset(slurm("sinfo", "--noheader", "--Node", "--format=%N").split())


def start_estimate(command: Sequence[str], **environment: str) -> str:
    """Return when a job that sbatch's command would submit may start, in sbatch's words. Raises PlatformError."""
    said = _done(command[0], "--test-only", *command[1:], **environment).stderr.strip().splitlines()
    return next((line.partition(": ")[2] for line in said if " to start at " in line), " ".join(said))


def slurm(*command: str, **environment: str) -> str:
    """Return what one of Slurm's commands printed, with these added to its environment. Raises PlatformError with what
    it said if it failed."""
    return _done(*command, **environment).stdout


def _done(*command: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=CALL_S, check=False,
                              env=os.environ | environment)
    except FileNotFoundError:
        raise PlatformError(f"{command[0]}: no such command here; is this a machine of a Slurm cluster?") from None
    except subprocess.TimeoutExpired:
        raise PlatformError(f"{_shown(command)}: no answer within {CALL_S:.0f} s") from None
    if done.returncode:
        raise PlatformError(f"{_shown(command)}: {(done.stderr or done.stdout).strip()}")
    return done


def _shown(command: Sequence[str]) -> str:
    return " ".join(command[:2])
