"""Following a job of Ray until it is over: what it prints, and what its end comes to.

Decides how often the cluster is asked, and that a dashboard which does not answer for a while is no news of the
job: Ray's own client would end with an error. What the end means is `platforms.ray_jobs_verdict`.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice

from launcher.core.errors import INFRASTRUCTURE, PlatformError
from launcher.platforms.ray_jobs import RayJob
from launcher.platforms.ray_jobs_client import Dashboard
from launcher.platforms.ray_jobs_verdict import Verdict, verdict
from launcher.platforms.slurm_told import End, told_by
from launcher.report.words import duration
from launcher.storage.jobs import JobRecord, job_record
from launcher.storage.journal import read_journal
from launcher.storage.run_dir import RunDir

POLL_S, LONGEST_POLL_S = 1.0, 30.0
SHARE = 0.1
"""Of the time that may go into asking: a dashboard gives a job's whole log each time."""
WAITS_S = 15.0
"""For a job to begin without a word: Ray starts a process and unpacks what was sent."""
AWAY_S = 120.0
"""For a dashboard to come back: a head that is started again takes less."""

Tell = Callable[[str], None]


@dataclass
class Follower:
    """Follows one job of a run."""

    board: Dashboard
    run: RunDir
    record: JobRecord
    known: int
    """Events of the run that are older than the job."""
    tell: Tell
    patient: bool = False
    """Whether a dashboard is waited for without end."""
    _shown: int = field(default=0, init=False)
    _away: float | None = field(default=None, init=False)
    _silent_until: float = field(default=0.0, init=False)

    def follow(self) -> Verdict:
        """Print what the job prints until it is over; return what follows."""
        self._silent_until = time.monotonic() + WAITS_S
        while True:
            begin = time.monotonic()
            try:
                job = self.board.job(self.record.job)
                self._back()
            except PlatformError as error:
                if self._gone(error):
                    return Verdict(INFRASTRUCTURE, False, f"the dashboard did not answer for {duration(AWAY_S)}")
                time.sleep(POLL_S)
                continue
            if job is None:
                return self._verdict(job)
            # Asked for after the state: what a job that is over has printed is all there.
            self._print(job)
            if not job.live:
                return self._verdict(job)
            self._say_waiting(job)
            time.sleep(min(LONGEST_POLL_S, max(POLL_S, (time.monotonic() - begin) * (1.0 / SHARE - 1.0))))

    def _print(self, job: RayJob) -> None:
        try:
            text = self.board.logs(job.job)
        except PlatformError as error:
            # The node that has them may be away; while the job lives they come with a later answer.
            if not job.live:
                self.tell(f"what the job printed last is not to be had ({error}); the run's own logs have the rest")
            return
        new = text[self._shown:] if len(text) >= self._shown else text
        self._shown = len(text)
        sys.stdout.write(new)
        sys.stdout.flush()

    def _say_waiting(self, job: RayJob) -> None:
        """Tell once for what a job waits that has not begun after a while."""
        if job.waits and time.monotonic() > self._silent_until:
            self._silent_until = float("inf")
            self.tell(f"job {job.job} waits: {job.message}")

    def _gone(self, error: PlatformError) -> bool:
        """Tell that nobody answers, once; return whether that has been so for too long."""
        now = time.monotonic()
        if self._away is None:
            self._away = now
            self.tell(f"{error} Asking again; the job goes on meanwhile, if its cluster does")
        return not self.patient and now - self._away > AWAY_S

    def _back(self) -> None:
        if self._away is not None:
            self.tell("the dashboard answers again")
        self._away = None

    def _verdict(self, job: RayJob | None) -> Verdict:
        now = job_record(self.run, self.record.job, "ray")
        return verdict(job, self._end(), stopped=now is not None and now.stopped)

    def _end(self) -> End | None:
        return told_by(islice(read_journal(self.run), self.known, None)).end


def events_of(run: RunDir) -> int:
    """Return how many events a run has."""
    return sum(1 for _ in read_journal(run))


def saved_since(run: RunDir, known: int) -> bool:
    """Return whether a run has saved anything since it had so many events."""
    return any(event["event"] == "checkpoint_committed" for event in islice(read_journal(run), known, None))
