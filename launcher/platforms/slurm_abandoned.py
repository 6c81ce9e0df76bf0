"""A node's task that the job has left behind, with nobody to close its input.

That happens where Slurm takes a node out of a job that was submitted with --no-kill: the task on it, if only slurmd has
died, is not heard any more; and if it was the first node, all others stand there without a batch script until the time
is over. Decides that only Slurm's word counts, which is asked once the first node's Ray is silent, and that of the
tasks that are left the first one acts: it queues the job again, or ends it where that is off. What counts is
`slurm_verdict`'s.
"""

import socket
import sys
from collections.abc import Callable

from launcher.core.errors import PlatformError
from launcher.platforms.slurm_client import UNKNOWN_JOB, Unsure, cancel, host_names, requeue, show_job
from launcher.platforms.slurm_ray import Orders
from launcher.platforms.slurm_verdict import abandoned, headless

LOOK_S, FIRST_LOOK_S = 10.0, 300.0
"""Between looks: of the second node, and of the first, which can ask nobody but Slurm."""
CONNECT_S = 5.0


class JobWatch:
    """Watches, from a node of the job, whether the job still has its task there."""

    def __init__(self, orders: Orders, node: int, name: str, saving: Callable[[], bool],
                 answers: Callable[[str, int], bool] | None = None) -> None:
        self._orders, self._node, self._name = orders, node, name
        self._saving, self._answers = saving, answers or _answers
        # Each node asks less often than the one before it: Slurm has to answer for them all.
        self.pause_s = LOOK_S * node if node else FIRST_LOOK_S

    def over(self) -> bool:
        """Return whether the task has nothing to wait for; do what is to be done if the first node is gone."""
        if self._node and self._answers(self._orders.address, self._orders.port):
            return False
        try:
            shown = show_job(self._orders.handle)
            left = host_names(shown["NodeList"])
        except (PlatformError, KeyError) as error:
            return UNKNOWN_JOB in str(error)
        if self._node and headless(shown, left) and left[0] == self._name:
            return self._end(shown["BatchHost"])
        return abandoned(shown, left, self._orders.restarts, self._name if self._node else None, saving=self._saving())

    def _end(self, first: str) -> bool:
        """Let the job begin again, or end it for the next one of its chain; return False if the next look must."""
        try:
            done = self._requeued_or_cancelled()
        except PlatformError:
            return False
        sys.stderr.write(f"launcher on {self._name}: the job's first node, {first}, is lost; the job is {done}\n")
        return True

    def _requeued_or_cancelled(self) -> str:
        """Return what was done. Raises PlatformError if Slurm cannot be heard now."""
        try:
            requeue(self._orders.handle)
        except Unsure:  # A job that was queued again after all must not be cancelled.
            raise
        except PlatformError as error:
            cancel(self._orders.handle)
            return f"ended ({error})"
        return "queued again"


def _answers(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), CONNECT_S).close()
    except OSError:
        return False
    return True
