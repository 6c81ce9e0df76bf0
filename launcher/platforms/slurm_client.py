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

UNKNOWN_JOB = "Invalid job id"
"""What Slurm says of a job that it has forgotten, minutes after its end."""


def fields(shown: str) -> dict[str, str]:
    """Return what `scontrol --oneliner show` says, by name."""
    return dict(re.findall(r"(\S+?)=(.*?)(?=\s+\S+?=|\s*$)", shown.strip()))


def show_job(job: int) -> dict[str, str]:
    """Return what Slurm knows of a job; times are UTC seconds. Raises PlatformError."""
    return fields(slurm("scontrol", "--oneliner", "show", "job", str(job), SLURM_TIME_FORMAT="%s"))


def host_names(nodes: str) -> list[str]:
    """Return the names in a list like `node[1-3,7]`, in its order. Raises PlatformError."""
    return slurm("scontrol", "show", "hostnames", nodes).split()


def nodes_left(job: int, names: Sequence[str]) -> Sequence[str]:
    """Return the nodes that Slurm still counts as a job's; those of its beginning where it does not answer."""
    try:
        return host_names(show_job(job)["NodeList"])
    except (PlatformError, KeyError):
        return names


def lost_nodes(job: int, names: Sequence[str]) -> list[str]:
    """Return which of a job's nodes Slurm has taken out of it or knows to be down. Raises PlatformError."""
    left, told = nodes_left(job, names), slurm("scontrol", "--oneliner", "show", "node", ",".join(names))
    down = {found.get("NodeName") for found in map(fields, told.splitlines()) if is_down(found.get("State", ""))}
    return [name for name in names if name not in left or name in down]


def is_down(state: str) -> bool:
    """Return whether a node of this state, like MIXED+DRAIN or ALLOCATED*, does no work: the star means silent."""
    return state.endswith("*") or bool({"DOWN", "FAIL", "FAILING", "NOT_RESPONDING"} & set(state.split("+")))


def requeue(job: int) -> None:
    """Let a job begin again from its script. Raises PlatformError where the cluster or the job forbids it."""
    slurm("scontrol", "requeue", str(job))


def cancel(job: int) -> None:
    """End a job; one that waits never begins. Raises PlatformError."""
    slurm("scancel", str(job))


def slurm(*command: str, **environment: str) -> str:
    """Return what one of Slurm's commands printed, with these added to its environment. Raises PlatformError with what
    it said if it failed."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=CALL_S, check=False,
                              env=os.environ | environment)
    except FileNotFoundError:
        raise PlatformError(f"{command[0]}: no such command here; is this a machine of a Slurm cluster?") from None
    except subprocess.TimeoutExpired:
        raise PlatformError(f"{_shown(command)}: no answer within {CALL_S:.0f} s") from None
    if done.returncode:
        raise PlatformError(f"{_shown(command)}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def _shown(command: Sequence[str]) -> str:
    return " ".join(command[:2])
