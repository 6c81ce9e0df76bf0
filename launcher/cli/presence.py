"""Whether anybody works on a run, or a job of it will: for commands that look again and again.

Decides how often Slurm, or the dashboard of a Ray cluster, is asked: a controller of Slurm answers thousands of people.
While somebody holds the run neither is asked at all.
"""

import time
from collections.abc import Callable

from launcher.cli.queue import Sight, sentence, sight
from launcher.core.errors import YIELDED
from launcher.storage.lock import HolderWatch
from launcher.storage.run_dir import RunDir
from launcher.storage.run_start import last_end

WAITING_S, MOVING_S = 15.0, 3.0
"""Between questions to Slurm: about a job that waits, and about one that begins or ends."""


class Presence:
    """Looks at one run."""

    def __init__(self, run: RunDir, tell: Callable[[str], None]) -> None:
        self._run, self._tell, self._holder = run, tell, HolderWatch(run)
        self._due, self._queued = 0.0, False
        self._told: tuple[str, ...] = ()
        self.seen = Sight()
        """Of the run's jobs, when last asked about."""

    def look(self) -> bool:
        """Return whether somebody works on the run, or a job of it waits, begins or ends. What is waited for is told,
        and told again when it changes."""
        if self._holder.look() is not None:
            self._due, self._queued, self._told = 0.0, False, ()
            return True
        if time.monotonic() >= self._due:
            self._ask()
        return self._queued

    def _ask(self) -> None:
        seen = self.seen = sight(self._run)
        self._due = time.monotonic() + (WAITING_S if seen.waits else MOVING_S)
        # Otherwise as it was: Slurm's controller may be restarted while a job waits.
        if not seen.trouble:
            self._queued = seen.live and not (seen.needless if seen.waits else self._is_over())
        if self._queued or seen.trouble:
            self._say(seen)

    def _say(self, seen: Sight) -> None:
        # Not the expected start, which changes with every look of the scheduler.
        key = (seen.trouble, *((seen.job.state, seen.job.reason) if seen.job else ()))
        if key != self._told:
            self._tell(sentence(seen))
        self._told = key

    def _is_over(self) -> bool:
        """Return whether the run has ended in a way that its job does not go on from."""
        ended = last_end(self._run)
        return ended is not None and ended.exit_code != YIELDED
