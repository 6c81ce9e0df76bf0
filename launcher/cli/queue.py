"""The jobs of runs, as commands on a login node show them: what Slurm's queue says now, or one line why it is unknown.

Words and fields for people and machines. What is known of old is `storage.jobs`, what Slurm says is
`platforms.slurm_queue`. A run that has never had a job costs no question, and without an answer in a moment the
command goes on with what the run's files say.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from launcher.core.errors import PlatformError, UserError
from launcher.core.events import RunState
from launcher.platforms.slurm_client import look_up
from launcher.platforms.slurm_queue import QueuedJob, most_telling, state_of_run
from launcher.platforms.slurm_reasons import in_words
from launcher.report.words import duration
from launcher.storage.jobs import JobRecord, jobs_of
from launcher.storage.run_dir import RunDir

LOOKED_AT = 100
"""Jobs of a run, the newest; a chain has fewer links, and older ones have long ended."""


@dataclass(frozen=True)
class Sight:
    """What is known of a run's jobs at a moment."""

    record: JobRecord | None = None
    """Of the job that tells most; None if the run never had one."""
    job: QueuedJob | None = None
    """The same in the queue; None if Slurm has forgotten it, or was not heard."""
    trouble: str = ""
    """Why Slurm was not heard."""
    waiting: tuple[str, ...] = ()
    """All jobs of the run that wait in the queue."""
    at: float = 0.0
    """When, in UTC seconds."""

    @property
    def live(self) -> bool:
        """Return whether a job of the run waits or has nodes, as far as Slurm was heard."""
        return self.job is not None and self.job.live

    @property
    def waits(self) -> bool:
        """Return whether a job of the run waits in the queue."""
        return self.job is not None and self.job.waits


def sight(run: RunDir) -> Sight:
    """Return what is known of a run's jobs."""
    return sights([run])[0]


def sights(runs: Sequence[RunDir]) -> list[Sight]:
    """Return what is known of the jobs of several runs, from one question to Slurm."""
    records = [jobs_of(run)[:LOOKED_AT] for run in runs]
    asked = [record.job for each in records for record in each]
    if not asked:
        return [Sight() for _ in runs]
    try:
        queue, trouble = look_up(asked), ""
    except PlatformError as error:
        queue, trouble = dict[str, QueuedJob](), " ".join(str(error).split())
    return [_sight(each, queue, trouble) for each in records]


def _sight(records: Sequence[JobRecord], queue: dict[str, QueuedJob], trouble: str) -> Sight:
    if not records:
        return Sight()
    queue = {each.job: queue[each.job] for each in records
             if each.job in queue and each.folder in ("", queue[each.job].folder)}
    job = most_telling([record.job for record in records], queue)
    record = next((record for record in records if job is not None and record.job == job.job), records[0])
    waiting = tuple(each.job for each in records if each.job in queue and queue[each.job].waits)
    return Sight(record, job, trouble, waiting, time.time())


def state_with(seen: Sight, journal: RunState, *, held: bool, attempts: int) -> RunState:
    """Return a run's state, from what its files and its job say."""
    return journal if held else state_of_run(journal, seen.job, attempts=attempts)


def sentence(seen: Sight) -> str:
    """Return what there is to say of a run's job in one sentence; nothing if the run never had one."""
    if seen.record is None:
        return ""
    number = f"job {seen.record.job}"
    if seen.trouble:
        return f"{number}: the queue is not known ({seen.trouble}); this is what the run's files say"
    if seen.job is None or not seen.job.live:
        how = "Slurm has forgotten it" if seen.job is None else seen.job.state
        return f"{number} has ended ({how})"
    if seen.job.waits:
        again = "is queued again and waits" if seen.record.began else "waits in the queue"
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
    return f"{seen.job.job} {seen.job.reason or seen.job.state if seen.job.waits else seen.job.nodes}"


def _expected(job: QueuedJob, now: float) -> str:
    if job.start is None or job.start <= now:
        return ""
    at = time.strftime("%Y-%m-%d %H:%M", time.localtime(job.start))
    return f"; expected to start {at}, in {duration(job.start - now)}"


def fields(seen: Sight) -> dict[str, Any] | None:
    """Return what `--json` prints of a run's job; None if the run never had one."""
    if seen.record is None:
        return None
    job = seen.job
    state = job.state if job else "unknown" if seen.trouble else "gone"
    return {"platform": "slurm", "id": seen.record.job, "state": state, "began": seen.record.began,
            "reason": job.reason if job and job.waits else None, "nodes": job.nodes if job else None,
            "expected_start": job.start if job and job.waits else None,
            "left_seconds": job.left_s if job and job.live and not job.waits else None,
            "said": sentence(seen)}


def refuse_queued(run: RunDir, shown: str) -> None:
    """Raise UserError if a job of the run waits or has nodes: a second one would only find the run taken."""
    seen = sight(run)
    if seen.live:
        raise UserError(f"{shown}: {sentence(seen)}, and a run has one job. "
                        f"`launcher status {shown}` shows it, `launcher stop {shown}` stops or cancels it.")
