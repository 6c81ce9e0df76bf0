"""What Slurm's queue says of jobs: how squeue is asked, how its answer is read, and what it means for a run. Pure.

Fields are asked for by name, in a form that squeue has had since long before Slurm 20. Calling it is `slurm_client`;
what a reason for waiting means is `slurm_reasons`.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

from launcher.core.events import RunState

FIELDS = ("%i", "%T", "%S", "%l", "%L", "%N", "%Z", "%r")
"""Number, state, start, time limit and left, nodes, working folder. The reason comes last: some contain anything."""
DEPENDENCY = "Dependency"
"""Why a chain's later links wait."""
UNKNOWN_JOB = "Invalid job id"
"""What squeue fails with when it is asked about nothing but jobs that Slurm has forgotten."""
WAITING = frozenset({"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESV_DEL_HOLD"})
OVER = frozenset({"COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "OUT_OF_MEMORY", "BOOT_FAIL",
                  "DEADLINE", "REVOKED"})
"""All others have nodes."""
DAY_S = 86400
NO_LIMIT_S = 365 * DAY_S
"""Where a partition has no limit Slurm gives a job this one."""
FAR_S = 30 * DAY_S
"""A start that is expected later than this is none: behind jobs without time limits Slurm says a year."""
_JOB = re.compile(r"\d+(_\d+)?")
_TIME = re.compile(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)")


@dataclass(frozen=True, slots=True)
class QueuedJob:
    """A job, as the queue has it."""

    job: str
    """As Slurm's commands call it: a number, or `12_3` for a task of an array."""
    state: str
    """As Slurm calls it: PENDING, RUNNING, COMPLETING and so on."""
    start: float | None = None
    """UTC seconds: when it began, or is expected to where Slurm tells."""
    left_s: float | None = None
    """Of its allocation; None where there is no limit."""
    nodes: str = ""
    """Slurm's short form of their names."""
    reason: str = ""
    """Why it waits, as Slurm calls it."""
    folder: str = ""
    """Its working folder."""

    @property
    def waits(self) -> bool:
        """Return whether it has no nodes yet, or none any more, and may get some."""
        return self.state in WAITING

    @property
    def live(self) -> bool:
        """Return whether it waits, or has nodes."""
        return self.state not in OVER


def squeue_command(jobs: Iterable[str]) -> list[str]:
    """Return the command that asks about some jobs, ended ones too. Times are UTC seconds with SLURM_TIME_FORMAT=%s."""
    return ["squeue", "--noheader", "--states=all", "--array", f"--jobs={','.join(jobs)}",
            f"--format={'|'.join(FIELDS)}"]


def queued_jobs(printed: str) -> dict[str, QueuedJob]:
    """Return the jobs in what squeue printed, by what they are called; a site's wrapper may print more."""
    found: dict[str, QueuedJob] = {}
    for line in printed.splitlines():
        parts = [part.strip() for part in line.split("|", len(FIELDS) - 1)]
        if len(parts) == len(FIELDS) and _JOB.fullmatch(parts[0]):
            job, state, start, limit, left, nodes, folder, reason = parts
            left_s = seconds_left(left) if (seconds_left(limit) or NO_LIMIT_S) < NO_LIMIT_S else None
            found[job] = QueuedJob(job, state, float(start) if start.isdigit() else None, left_s,
                                   nodes if nodes != "(null)" else "",
                                   "" if reason in ("None", "(null)") else reason, folder)
    return found


def seconds_left(text: str) -> float | None:
    """Return a time as squeue prints it, `1-02:03:04` or `59:58`; None for UNLIMITED and the like."""
    found = _TIME.fullmatch(text)
    if found is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return float(days * DAY_S + hours * 3600 + minutes * 60 + seconds)


def expected_start(job: QueuedJob, now: float) -> float | None:
    """Return when a job that waits is expected to start, in UTC seconds; None where Slurm cannot tell."""
    return job.start if job.waits and job.start is not None and job.start - now <= FAR_S else None


class AnyJob(Protocol):
    """What jobs of all platforms have in common."""

    @property
    def reason(self) -> str:
        """Return why it waits, as the platform calls it."""
        ...

    @property
    def waits(self) -> bool:
        """Return whether it may begin."""
        ...

    @property
    def live(self) -> bool:
        """Return whether it waits or is under way."""
        ...


OneJob = TypeVar("OneJob", bound=AnyJob)


def most_telling(jobs: Iterable[str], queue: Mapping[str, OneJob]) -> OneJob | None:
    """Return the job that tells where a run stands: one that has nodes, else one that waits for more than another of
    them, else the first; None if Slurm has forgotten them all."""
    known = [queue[job] for job in jobs if job in queue]
    return min(known, key=lambda job: (not job.live, job.waits, job.reason == DEPENDENCY), default=None)


def state_of_run(journal: RunState, job: AnyJob | None, *, attempts: int) -> RunState:
    """Return the state of a run that nobody holds, from what its journal says and its job."""
    if job is None or not job.live:
        return journal
    if job.waits:
        return "queued"
    if journal in ("finished", "failed"):
        return journal
    # It has nodes: it starts Ray there, or gives them back to be queued again.
    return "restarting" if attempts else "starting"
