"""The jobs of runs on Ray clusters, for commands that look: what a dashboard says of them, in words.

Decides that a cluster is asked for no longer than a person waits, and that many runs of one cluster are one question.
"""

from collections.abc import Sequence

from launcher.platforms.ray_jobs import RayJob
from launcher.platforms.ray_jobs_client import dashboard
from launcher.storage.jobs import JobRecord

FEW = 3
"""Jobs that are asked about one by one; a cluster tells of all it has ever had at once."""


def look_up(address: str, jobs: Sequence[str]) -> dict[str, RayJob]:
    """Return what a cluster knows of some jobs, by id. Raises PlatformError where nobody answers in a moment."""
    asked = dashboard(address)
    found = map(asked.job, jobs) if len(jobs) <= FEW else asked.jobs()
    return {job.job: job for job in found if job is not None and job.job in jobs}


def stop_job(address: str, job: str) -> None:
    """Ask a job to end. Raises PlatformError."""
    dashboard(address).stop(job)


def stopping(address: str, job: str) -> str:
    """Return Ray's own command that ends a job."""
    return f"ray job stop {job} --address {address}"


def sentence(record: JobRecord, job: object, trouble: str) -> str:
    """Return what there is to say of a run's job in one sentence."""
    name = f"job {record.job}"
    if trouble:
        return f"{name}: its state is not known ({trouble}); this is what the run's files say"
    if not isinstance(job, RayJob):
        return f"{name} has ended (the cluster at {record.address} does not know it any more)"
    if not job.live:
        how = job.state if job.driver_code is None else f"{job.state}, exit code {job.driver_code}"
        return f"{name} has ended ({how})"
    if job.waits:
        return f"{name} waits on the cluster at {record.address}: {job.message or 'it has not started yet'}"
    return f"{name} runs on the cluster at {record.address}"
