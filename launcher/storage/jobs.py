"""Which jobs of a batch system a run has had: recorded when one is submitted, and by each job when it begins.

So commands on a login node know what to ask the batch system about; what it answers is `platforms.slurm_queue`. A
record also carries the word that its job was asked to stop for good: requests in `storage.stop_file` are for a holder
of the run, and a job that waits, or has not got that far, has none.
"""

from contextlib import suppress

from launcher.core.document import Document
from launcher.storage.run_dir import RunDir

FOLDER = "jobs"


class JobRecord(Document):
    """One job."""

    job: str
    """What the batch system's commands call it: a number, or `12_3` for a task of an array, because scancel would take
    the number alone for all of them."""
    time: float
    """UTC seconds, of the clock of whoever recorded it first."""
    began: int = 0
    """How many allocations of it have begun; 0 while it waits for its first."""
    folder: str = ""
    """Its working folder, as the batch system calls it; empty if unknown. Numbers of jobs are used again, and run
    directories are copied to other clusters."""
    stopped: bool = False
    """Whether somebody asked it to stop for good, since its last allocation began."""


def record_submitted(run: RunDir, job: str, time: float, folder: str = "") -> None:
    """Record a job that was submitted to work in a folder; it may have begun already, and said so."""
    run.store.put_if_absent(_key(job), JobRecord(job=job, time=time, folder=folder).to_json().encode())


def record_began(run: RunDir, job: str, time: float, *, allocations: int, folder: str = "") -> None:
    """Record that an allocation of a job begins, its first or a later one."""
    before = job_record(run, job)
    record = JobRecord(job=job, time=before.time if before else time, began=allocations, folder=folder)
    run.store.put(_key(job), record.to_json().encode())


def record_stopped(run: RunDir, record: JobRecord) -> None:
    """Record that a job was asked to stop for good."""
    run.store.put(_key(record.job), record.model_copy(update={"stopped": True}).to_json().encode())


def job_record(run: RunDir, job: str) -> JobRecord | None:
    """Return what is recorded of a job."""
    try:
        return JobRecord.from_json(run.store.get(_key(job)))
    except KeyError:
        return None


def jobs_of(run: RunDir) -> list[JobRecord]:
    """Return the run's jobs, the newest first."""
    found: list[JobRecord] = []
    for key in run.store.list(f"{FOLDER}/slurm-"):
        with suppress(KeyError, ValueError):  # A file of somebody else's with such a name is no record.
            found.append(JobRecord.from_json(run.store.get(key)))
    return sorted(found, key=lambda record: (record.time, record.job), reverse=True)


def _key(job: str) -> str:
    return f"{FOLDER}/slurm-{job}.json"
