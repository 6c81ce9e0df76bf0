"""Slurm's own commands: asking what it knows of a job, and asking it for things.

Decides how answers are read, nothing else. Needs no accounting: `scontrol` knows all that counts of a living job.
"""

import os
import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from datetime import datetime

from launcher.core.errors import PlatformError
from launcher.platforms.slurm_environment import outside
from launcher.platforms.slurm_queue import FAR_S, UNKNOWN_JOB, QueuedJob, queued_jobs, squeue_command

CALL_S = 60.0
"""A busy controller answers late, and a job's end must not wait for one that never does."""
UTC_SECONDS = {"SLURM_TIME_FORMAT": "%s"}
"""How all times are printed."""
ASKED_AT_ONCE = 2000
"""Jobs in one question: the system takes no longer word in a command than 128 KiB."""
LOOK_S = 5.0
"""For a person who looks at a run: its files tell most of it without Slurm."""


_START = re.compile(r" to start at (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)")


class Unsure(PlatformError):
    """Slurm was asked for something and may have done it."""


def fields(shown: str) -> dict[str, str]:
    """Return what `scontrol --oneliner show` says, by name."""
    # The first of a name is Slurm's: the script's arguments, which come later, may look like fields.
    return dict(reversed(re.findall(r"(\S+?)=(.*?)(?=\s+\S+?=|\s*$)", shown.strip())))


def show_job(job: int | str, patience_s: float = CALL_S) -> dict[str, str]:
    """Return what Slurm knows of a job; times are UTC seconds. Raises PlatformError."""
    told = slurm("scontrol", "--oneliner", "show", "job", str(job), patience_s=patience_s, environment=UTC_SECONDS)
    found = [fields(line) for line in told.splitlines() if line.strip()] or [{}]
    # One task's number is that of its whole array, of which scontrol shows all tasks.
    return next((each for each in found if each.get("JobId") == str(job)), found[0])


def host_names(nodes: str) -> list[str]:
    """Return the names in a list like `node[1-3,7]`, in its order. Raises PlatformError."""
    return slurm("scontrol", "show", "hostnames", nodes).split()


def nodes_left(job: str, names: Sequence[str]) -> Sequence[str]:
    """Return the nodes that Slurm still counts as a job's; those of its beginning where it does not answer."""
    try:
        return host_names(show_job(job)["NodeList"])
    except (PlatformError, KeyError):
        return names


def lost_nodes(job: str, names: Sequence[str]) -> list[str]:
    """Return which of a job's nodes Slurm has taken out of it or knows to be down. Raises PlatformError."""
    left, told = nodes_left(job, names), slurm("scontrol", "--oneliner", "show", "node", ",".join(names))
    down = {found.get("NodeName") for found in map(fields, told.splitlines()) if is_down(found.get("State", ""))}
    return [name for name in names if name not in left or name in down]


def sound_nodes(job: str, names: Sequence[str]) -> list[str]:
    """Return the nodes of a job that work, as far as Slurm answers: one that does not would fail a step of all."""
    left = nodes_left(job, names)
    try:
        lost = lost_nodes(job, left)
    except PlatformError:
        lost = []
    return [name for name in left if name not in lost]


def is_down(state: str) -> bool:
    """Return whether a node of this state, like MIXED+DRAIN or ALLOCATED*, does no work: the star means silent."""
    return state.endswith("*") or bool({"DOWN", "FAIL", "FAILING", "NOT_RESPONDING"} & set(state.split("+")))


def requeue(job: int | str) -> None:
    """Let a job begin again from its script. Raises PlatformError where the cluster or the job forbids it."""
    slurm("scontrol", "requeue", str(job))


def node_names() -> frozenset[str]:
    """Return the names of the cluster's nodes. Raises PlatformError."""
    return frozenset(slurm("sinfo", "--noheader", "--Node", "--format=%N").split())


def start_estimate(command: Sequence[str], environment: Mapping[str, str]) -> str:
    """Return when a job that sbatch's command would submit may start, in sbatch's words. Raises PlatformError."""
    said = _done([command[0], "--test-only", *command[1:]], CALL_S, environment).stderr.strip().splitlines()
    told = next((line.partition(": ")[2] for line in said if " to start at " in line), " ".join(said))
    found = _START.search(told)
    if found and datetime.fromisoformat(found[1]).timestamp() - time.time() > FAR_S:
        return "not known: more than 30 days ahead, as Slurm guesses behind jobs without time limits"
    return told


def look_up(jobs: Sequence[str]) -> dict[str, QueuedJob]:
    """Return what Slurm's queue has of some jobs, by number; what it has forgotten is left out. Raises PlatformError
    where there is no Slurm, or none that answers in a moment."""
    found: dict[str, QueuedJob] = {}
    for start in range(0, len(jobs), ASKED_AT_ONCE):
        try:
            told = slurm(*squeue_command(jobs[start:start + ASKED_AT_ONCE]), patience_s=LOOK_S, environment=UTC_SECONDS)
        except PlatformError as error:
            if UNKNOWN_JOB not in str(error):
                raise
            continue
        found |= queued_jobs(told)
    return found


def cancel(job: str) -> None:
    """End a job; one that waits never begins. Raises PlatformError."""
    slurm("scancel", job)


def slurm(*command: str, patience_s: float = CALL_S, environment: Mapping[str, str] | None = None) -> str:
    """Return what one of Slurm's commands printed, with these added to its environment. Raises PlatformError with what
    it said if it failed."""
    return _done(command, patience_s, environment or {}).stdout


def _done(command: Sequence[str], patience_s: float,
          environment: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=patience_s, check=False,
                              env={**(outside(os.environ) if command[0] == "sbatch" else os.environ), **environment})
    except FileNotFoundError:
        raise PlatformError(f"{command[0]}: no such command here; is this a machine of a Slurm cluster?") from None
    except subprocess.TimeoutExpired:
        raise Unsure(f"{_shown(command)}: no answer within {patience_s:.0f} s") from None
    if done.returncode:
        raise PlatformError(f"{_shown(command)}: {(done.stderr or done.stdout).strip()}")
    return done


def _shown(command: Sequence[str]) -> str:
    return " ".join(command[:2])
