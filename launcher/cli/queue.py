"""The jobs of runs, as commands on a login node or a laptop show them: what Slurm's queue, or the dashboard of a Ray
cluster, says now, or one line why it is unknown.

Words and fields for people and machines. What is known of old is `storage.jobs`, what Slurm says is
`platforms.slurm_queue`, what Ray says `cli.ray_queue`. Only the place of a run's newest job is asked: a run may move
from one to another, and its lease tells who works on it. A run that has never had a job costs no question, and without
an answer in a moment the command goes on with what the run's files say.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from launcher.cli import ray_queue
from launcher.cli.side_by_side import side_by_side
from launcher.core.errors import YIELDED, PlatformError, UserError
from launcher.core.events import RunState
from launcher.platforms.ray_jobs import RayJob
from launcher.platforms.slurm_client import cancel, look_up
from launcher.platforms.slurm_queue import QueuedJob, expected_start, most_telling, state_of_run
from launcher.platforms.slurm_reasons import in_words
from launcher.platforms.slurm_told import End, told_by
from launcher.platforms.slurm_verdict import needless
from launcher.report.words import duration
from launcher.storage.jobs import JobRecord, jobs_of
from launcher.storage.journal import read_journal
from launcher.storage.run_dir import RunDir

LOOKED_AT = 100
"""Jobs of a run, the newest; a chain has fewer links, and older ones have long ended."""
ANSWERS_S = 10.0
"""For all places together. One request has less; this is for a place that answers each just in time."""
Question = tuple[tuple[str, str], list[str]]
"""A place, and the jobs that it is asked for."""
Heard = tuple[Mapping[str, QueuedJob | RayJob], str]
"""What a place knows of jobs, and why it was not heard."""


@dataclass(frozen=True)
class Sight:
    """What is known of a run's jobs at a moment."""

    record: JobRecord | None = None
    """Of the job that tells most; None if the run never had one."""
    job: QueuedJob | RayJob | None = None
    """The same in the queue; None if Slurm or the cluster has forgotten it, or was not heard."""
    trouble: str = ""
    """Why Slurm or the cluster was not heard."""
    waiting: tuple[str, ...] = ()
    """All jobs of the run that wait in the queue."""
    at: float = 0.0
    """When, in UTC seconds."""
    end: End | None = None
    """How the run has ended, if it has, and a job of it waits or failed, as Slurm calls what did not end with 0."""

    @property
    def live(self) -> bool:
        """Return whether a job of the run waits or has nodes, as far as its platform was heard."""
        return self.job is not None and self.job.live

    @property
    def waits(self) -> bool:
        """Return whether a job of the run waits in the queue."""
        return self.job is not None and self.job.waits

    @property
    def failed(self) -> bool:
        """Return whether the job ended with another exit code than 0, for all that Slurm says."""
        return self.job is not None and self.job.state == "FAILED"

    @property
    def needless(self) -> bool:
        """Return whether the job that waits has nothing to do any more: its run ended for good after it was
        submitted."""
        # A job of Ray waits for its supervisor alone, and was submitted on purpose.
        return (self.waits and self.record is not None and self.record.platform == "slurm"
                and needless(self.end, self.record.time) is not None)

    def cancel(self, job: str) -> None:
        """End one of the run's jobs, which is where this one is. Raises PlatformError."""
        if self.record is not None and self.record.platform == "ray":
            ray_queue.stop_job(self.record.address, job)
        else:
            cancel(job)

    def cancelling(self, job: str) -> str:
        """Return the platform's own command that ends one of the run's jobs."""
        if self.record is not None and self.record.platform == "ray":
            return ray_queue.stopping(self.record.address, job)
        return f"scancel {job}"


def sight(run: RunDir) -> Sight:
    """Return what is known of a run's jobs."""
    return sights([run])[0]


def sights(runs: Sequence[RunDir]) -> list[Sight]:
    """Return what is known of the jobs of several runs, from one question to each place that has any,
    all asked at once."""
    records = [_of_one_place(jobs_of(run)[:LOOKED_AT]) for run in runs]
    places = sorted({each[0].place for each in records if each})
    asked = [(place, [record.job for each in records for record in each if record.place == place]) for place in places]
    heard = dict(zip(places, side_by_side(_heard, _late, asked, ANSWERS_S), strict=True))
    seen = [_sight(each, *heard[each[0].place]) if each else Sight() for each in records]
    return [replace(each, end=told_by(read_journal(run)).end) if each.waits or each.failed else each
            for run, each in zip(runs, seen, strict=True)]


def _of_one_place(records: Sequence[JobRecord]) -> list[JobRecord]:
    return [record for record in records if record.place == records[0].place]


def _late(question: Question) -> Heard:
    """Return what is known of jobs at a place that took too long."""
    (platform, address), _ = question
    return {}, f"{address or platform}: no answer in {duration(ANSWERS_S)}"


def _heard(question: Question) -> Heard:
    """Return what a place knows of some jobs, and why it was not heard."""
    (platform, address), jobs = question
    try:
        return (ray_queue.look_up(address, jobs) if platform == "ray" else look_up(jobs)), ""
    except PlatformError as error:
        return {}, " ".join(str(error).split())


def _sight(records: Sequence[JobRecord], known: "Mapping[str, QueuedJob | RayJob]", trouble: str) -> Sight:
    queue = {each.job: known[each.job] for each in records
             if each.job in known and each.folder in ("", known[each.job].folder)}
    job = most_telling([record.job for record in records], queue)
    record = next((record for record in records if job is not None and record.job == job.job), records[0])
    waiting = tuple(each.job for each in records if each.job in queue and queue[each.job].waits)
    return Sight(record, job, trouble, waiting, time.time())


def state_with(seen: Sight, journal: RunState, *, held: bool, attempts: int) -> RunState:
    """Return a run's state, from what its files and its job say."""
    return journal if held or seen.needless else state_of_run(journal, seen.job, attempts=attempts)


def sentence(seen: Sight) -> str:
    """Return what there is to say of a run's job in one sentence; nothing if the run never had one."""
    if seen.record is None:
        return ""
    number = f"job {seen.record.job}"
    if seen.record.platform == "ray":
        return ray_queue.sentence(seen.record, seen.job, seen.trouble)
    if seen.trouble:
        return f"{number}: the queue is not known ({seen.trouble}); this is what the run's files say"
    if seen.job is None or not seen.job.live:
        how = "Slurm has forgotten it" if seen.job is None else _exit(seen) or seen.job.state
        return f"{number} has ended ({how})"
    if seen.job.waits:
        again = "is queued again and waits" if seen.record.began else "waits in the queue"
        if seen.needless:
            return f"{number} {again}, and leaves as soon as it starts: the run needs it no more"
        return f"{number} {again}: {in_words(seen.job.reason, seen.job.job)}{_expected(seen.job, seen.at)}"
    if seen.job.state == "COMPLETING":
        return f"{number} is ending"
    left = "no time limit" if seen.job.left_s is None else f"{duration(seen.job.left_s)} left"
    state = "" if seen.job.state == "RUNNING" else f", {seen.job.state.lower()}"
    return f"{number} has {seen.job.nodes}{state}, {left}"


def brief(seen: Sight) -> str:
    """Return a run's live job in a few words, for a table; nothing if it has none."""
    if seen.job is None or not seen.job.live:
        return ""
    return f"{seen.job.job} {seen.job.reason or seen.job.state if seen.job.waits else seen.job.nodes or seen.job.state}"


def _exit(seen: Sight) -> str:
    """Return the exit code of a job that is over and what it means, where its run's journal has it: Slurm calls what
    did not end with 0 a failure, also where a run saved and left as it was asked to."""
    if seen.record is None or not seen.failed or seen.end is None or seen.end.time < seen.record.time:
        return ""
    how = ": stopped by `launcher stop`" if seen.end.on_request else ": it yielded"
    return f"exit code {seen.end.exit_code}{how if seen.end.exit_code == YIELDED else ''}"


def _expected(job: QueuedJob | RayJob, now: float) -> str:
    start = _start(job, now)
    if start is None or start <= now:
        return ""
    at = time.strftime("%Y-%m-%d %H:%M", time.localtime(start))
    return f"; expected to start {at}, in {duration(start - now)}"


def _start(job: QueuedJob | RayJob, now: float) -> float | None:
    return expected_start(job, now) if isinstance(job, QueuedJob) else None


def fields(seen: Sight) -> dict[str, Any] | None:
    """Return what `--json` prints of a run's job; None if the run never had one."""
    if seen.record is None:
        return None
    job = seen.job
    state = job.state if job else "unknown" if seen.trouble else "gone"
    return {"platform": seen.record.platform, "id": seen.record.job, "state": state, "began": seen.record.began,
            "reason": job.reason if job and job.waits else None, "nodes": job.nodes if job else None,
            "expected_start": _start(job, seen.at) if job else None,
            "left_seconds": job.left_s if job and job.live and not job.waits else None,
            "said": sentence(seen)}


def refuse_queued(run: RunDir, shown: str) -> None:
    """Raise UserError if a job of the run waits or has nodes: a second one would only find the run taken."""
    seen = sight(run)
    if seen.live:
        raise UserError(f"{shown}: {sentence(seen)}, and a run has one job. "
                        f"`launcher status {shown}` shows it, `launcher stop {shown}` stops or cancels it.")
