"""What `launcher stop` does about a run's jobs, in Slurm's queue or on a Ray cluster: none of them may start later.

Decides that a job which waits is cancelled, one whose run was asked to stop ends by itself, and one that has nodes
while nobody holds the run is cancelled too: Ray or the run is just coming up, or going. Nothing is asked about a run
that never had a job.
"""

import time
from collections.abc import Callable
from contextlib import suppress

from launcher.cli.queue import Sight, sentence, sight
from launcher.core.errors import PlatformError
from launcher.storage.jobs import record_stopped
from launcher.storage.run_dir import RunDir

ENDS_S = 60.0
"""For a job to end after its run: Ray's processes, the steps, and Slurm's own clearing up."""
POLL_S = 1.0


class JobStop:
    """The jobs of a run that is being stopped. Made before the run itself is asked, so that a job that hears of its
    controller's end knows that it is for good."""

    def __init__(self, run: RunDir, tell: Callable[[str], None]) -> None:
        self._run, self._tell = run, tell
        self.cancelled = False
        self._before = sight(run)
        if self._before.record is not None and (self._before.live or self._before.trouble):
            with suppress(OSError):  # A full disk: the request to the run itself will say so.
                record_stopped(run, self._before.record)

    def end(self, *, asked: bool, held: bool, wait: bool) -> None:
        """See to it that no job starts later. `asked`: whoever held the run was asked to stop; `held`: somebody still
        does. Raises PlatformError for a job that may not be cancelled."""
        if self._before.record is None:
            return
        seen = self._before if self._before.trouble else sight(self._run)
        if seen.trouble:
            self._tell(f"{sentence(seen)}. If it still waits, `{seen.cancelling(self._before.record.job)}` cancels it")
            return
        self._cancel_waiting(seen)
        if not _has_nodes(seen) or held:
            return
        if not asked and seen.job is not None and seen.job.state != "COMPLETING":
            self._cancel(seen, seen.job.job, f"{sentence(seen)}, and the run has not begun there")
        if wait:
            self._cancel_waiting(self._when_it_has_left())

    def _when_it_has_left(self) -> Sight:
        """Return what is known once the job has no nodes any more: it may have been queued again, by Slurm."""
        until = time.monotonic() + ENDS_S
        while _has_nodes(seen := sight(self._run)) and time.monotonic() < until:
            time.sleep(POLL_S)
        return seen

    def _cancel_waiting(self, seen: Sight) -> None:
        for job in seen.waiting:
            said = sentence(seen) if seen.job is not None and seen.job.job == job else f"job {job} waits in the queue"
            self._cancel(seen, job, said)

    def _cancel(self, seen: Sight, job: str, said: str) -> None:
        try:
            seen.cancel(job)
        except PlatformError as error:
            raise PlatformError(f"{said}; it could not be cancelled, so it may still start: {error}") from None
        self.cancelled = True
        self._tell(f"{said}\njob {job} is cancelled")


def _has_nodes(seen: Sight) -> bool:
    return seen.live and not seen.waits
