"""What an allocation learns from its run's journal while the run works: how early a stop must be asked for, and that it
waits for nodes which will not come back.

Decides when to look, and to ask Slurm for the job's nodes only once the run misses some. What follows is
`slurm_verdict`'s, and reaches the controller through the notices.
"""

import time
from collections.abc import Sequence
from contextlib import suppress

from launcher.platforms.slurm_client import nodes_left
from launcher.platforms.slurm_notices import Notices
from launcher.platforms.slurm_told import Told
from launcher.platforms.slurm_verdict import margin_s, stranded
from launcher.storage.journal import JournalReader
from launcher.storage.run_dir import RunDir

LOOK_S = 2.0
"""Between looks into the journal, which may lie on a slow file system."""
ASK_S = 10.0
"""Between questions to Slurm, which has other jobs to answer for."""


class Follower:
    """Follows the journal of a job's run for one allocation."""

    def __init__(self, run: RunDir, notices: Notices, length_s: float | None) -> None:
        self._reader, self._notices, self._length_s = JournalReader(run), notices, length_s
        self._look_at = self._ask_at = 0.0
        self.told, self.known = Told(), 0
        self._read()
        self.before = self.known
        """Events that are older than the allocation."""

    def look(self, job: str, names: Sequence[str]) -> None:
        """Tell the notices what is new, if it is time to; `names` are the job's nodes when it began."""
        now = time.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + LOOK_S
        # A file system that fails for a while must not end the job.
        with suppress(OSError, ValueError):
            self._read()
        if self.told.missing_since is not None and now >= self._ask_at:
            self._ask_at = now + ASK_S
            if stranded(self.told, time.time(), len(names), nodes_left(job, names)):
                self._notices.stranded = True

    def _read(self) -> None:
        events = self._reader.new_events()
        self.known += len(events)
        self.told = self.told.add(*events)
        # The first save of a run may be the first that is measured.
        self._notices.margin_s = margin_s(self.told, self._length_s)
