"""Which jobs of Slurm, or of a Ray cluster, a run has had: recorded when one is submitted, and by each when it begins.

So commands on a login node or a laptop know whom to ask about what; what is answered is `platforms.slurm_queue` and
`platforms.ray_jobs`. A record also carries the word that its job was asked to stop for good: requests in
`storage.stop_file` are for a holder of the run, and a job that waits, or has not got that far, has none.
"""

import sys
from contextlib import suppress
from typing import Literal

from launcher.core.document import Document
from launcher.storage.run_dir import RunDir

FOLDER = "jobs"
Platform = Literal["slurm", "ray"]
PREFIXES = (f"{FOLDER}/slurm-", f"{FOLDER}/ray-")


class JobRecord(Document):
    """One job."""

    job: str
    """What the platform's commands call it. Slurm: a number, or `12_3` for a task of an array, because scancel would
    take the number alone for all of them. Ray: the submission id."""
    time: float
    """UTC seconds, of the clock of whoever recorded it first."""
    began: int = 0
    """How many allocations of it have begun; 0 while it waits for its first."""
    folder: str = ""
    """Its working folder, as the batch system calls it; empty if unknown. Numbers of jobs are used again, and run
    directories are copied to other clusters."""
    stopped: bool = False
    """Whether somebody asked it to stop for good, since its last allocation began."""
    failed_starts: int = 0
    """Allocations in a row in which its Ray did not come up."""
    unseen_ends: int = 0
    """Allocations in a row whose end the job itself has not lived to see, the present one among them."""
    platform: Platform = "slurm"
    address: str = ""
    """Of Ray: the URL of the dashboard that takes questions about the job."""

    @property
    def place(self) -> tuple[str, str]:
        """Return who is to be asked about it."""
        return self.platform, self.address


def record_submitted(run: RunDir, job: str, time: float, folder: str = "") -> None:
    """Record a job of Slurm that was submitted to work in a folder; it may have begun already, and said so."""
    run.store.put_if_absent(_key(job), JobRecord(job=job, time=time, folder=folder).to_json().encode())


def reserve(run: RunDir, record: JobRecord) -> bool:
    """Record a job that is about to be submitted under an id of our choice; return False if the id was used before."""
    return run.store.put_if_absent(_key(record.job, record.platform), record.to_json().encode())


def withdraw(run: RunDir, record: JobRecord) -> None:
    """Remove the record of a job that was not submitted after all, and the run's directory if nothing else is in it."""
    run.store.delete(_key(record.job, record.platform))
    for folder in (run.path / FOLDER, run.path):
        with suppress(OSError):
            folder.rmdir()


def record_began(run: RunDir, job: str, time: float, *, allocations: int, folder: str = "") -> None:
    """Record that an allocation of a job of Slurm begins, its first or a later one."""
    before = job_record(run, job)
    record = JobRecord(job=job, time=before.time if before else time, began=allocations, folder=folder,
                       failed_starts=before.failed_starts if before else 0,
                       unseen_ends=(before.unseen_ends if before else 0) + 1)
    run.store.put(_key(job), record.to_json().encode())


def record_failed_start(run: RunDir, job: str) -> int:
    """Record that the Ray of a job did not come up; return in how many allocations in a row by now."""
    record = job_record(run, job)
    if record is None:  # Nothing can be counted, and what is not counted could go on for ever.
        return sys.maxsize
    failed = record.failed_starts + 1
    run.store.put(_key(job), record.model_copy(update={"failed_starts": failed}).to_json().encode())
    return failed


def record_started(run: RunDir, job: str) -> None:
    """Record that the Ray of a job is up."""
    record = job_record(run, job)
    if record is not None and record.failed_starts:
        run.store.put(_key(job), record.model_copy(update={"failed_starts": 0}).to_json().encode())


def record_ends(run: RunDir, job: str) -> None:
    """Record that a job of Slurm sees its allocation's end come."""
    record = job_record(run, job)
    if record is not None:
        run.store.put(_key(job), record.model_copy(update={"unseen_ends": 0}).to_json().encode())


def record_stopped(run: RunDir, record: JobRecord) -> None:
    """Record that a job was asked to stop for good."""
    stopped = record.model_copy(update={"stopped": True})
    run.store.put(_key(record.job, record.platform), stopped.to_json().encode())


def job_record(run: RunDir, job: str, platform: Platform = "slurm") -> JobRecord | None:
    """Return what is recorded of a job; a file that a full disk left empty is no record."""
    try:
        return JobRecord.from_json(run.store.get(_key(job, platform)))
    except (KeyError, ValueError):
        return None


def jobs_of(run: RunDir) -> list[JobRecord]:
    """Return the run's jobs, the newest first."""
    found: list[JobRecord] = []
    for key in run.store.list(f"{FOLDER}/"):
        if not key.startswith(PREFIXES):
            continue
        with suppress(KeyError, ValueError):  # A file of somebody else's with such a name is no record.
            found.append(JobRecord.from_json(run.store.get(key)))
    return sorted(found, key=lambda record: (record.time, record.job), reverse=True)


def _key(job: str, platform: Platform = "slurm") -> str:
    return f"{FOLDER}/{platform}-{job}.json"
