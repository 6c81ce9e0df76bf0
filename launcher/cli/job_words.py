"""Why a job of Slurm ended that says nothing in its run's journal: launcher's last words in the job's output.

Decides when there is something to say: nobody works on the run, its job is over, and nothing in the journal is later
than that job. Slurm is asked only where the output is not found, and still knows the job.
"""

from dataclasses import dataclass
from pathlib import Path

from launcher.cli.queue import Sight
from launcher.core.errors import PlatformError
from launcher.platforms.slurm_client import LOOK_S, show_job
from launcher.report.fold import RunFold
from launcher.storage.job_log import job_log, last_words
from launcher.storage.run_dir import RunDir


@dataclass(frozen=True, slots=True)
class JobWords:
    """What a job left behind."""

    said: str
    """Launcher's last line; empty if there is none."""
    log: Path
    """The job's output."""

    def __str__(self) -> str:
        """Return both, behind a sentence about the job."""
        return (f"; it said last: {self.said}" if self.said else "") + f"\nnext   less {self.log}"


def job_words(run: RunDir, seen: Sight, fold: RunFold) -> JobWords | None:
    """Return the last words of a job that ended before its run began, or began again; None if it is not so, or its
    output is not to be found."""
    if seen.record is None or seen.live or seen.trouble or fold.last_time > seen.record.time:
        return None
    log = job_log(run, seen.record) or _asked(seen)
    return None if log is None else JobWords(last_words(log), _short(log))


def _short(path: Path) -> Path:
    """Return a path as one types it here."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _asked(seen: Sight) -> Path | None:
    """Return the output of a job as Slurm tells it."""
    if seen.record is None or seen.record.platform != "slurm" or seen.job is None:
        return None
    try:
        told = show_job(seen.record.job, LOOK_S).get("StdOut", "")
    except PlatformError:
        return None
    return Path(told) if told and Path(told).is_file() else None
