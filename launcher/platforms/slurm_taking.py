"""Whether Slurm takes an allocation away in which something has just failed: then the failure is not the job's own.

Decides how long to wait for Slurm's word: a machine that is gone fails a step at once, and Slurm finds out minutes
later. What counts as taking away is `slurm_verdict`'s and `slurm_client.lost_nodes`'s.
"""

import time
from collections.abc import Callable, Sequence

from launcher.core.errors import PlatformError
from launcher.platforms.addresses import silent
from launcher.platforms.slurm_client import lost_nodes, show_job
from launcher.platforms.slurm_verdict import preempted

NOTICED_S = 600.0
"""For Slurm to find out that a machine is gone: twice the SlurmdTimeout of most sites."""
ASK_S = 5.0


def taken(job: str, names: Sequence[str], given_up: Callable[[], bool], tell: Callable[[str], None]) -> str:
    """Return how Slurm takes an allocation on these nodes away; nothing if it does not. Waits for that only where a
    node does not answer, and until it is `given_up`."""
    if (how := _known(job, names)) or not (gone := silent(names)):
        return how
    tell(f"{', '.join(gone)}: no answer; waiting up to {NOTICED_S:.0f} s for what Slurm finds out")
    until = time.monotonic() + NOTICED_S
    while not (how := _known(job, names)) and time.monotonic() < until:
        if given_up():
            return "Slurm ends the allocation"
        time.sleep(ASK_S)
    return how


def _known(job: str, names: Sequence[str]) -> str:
    """Return what Slurm knows of it; nothing where it does not answer."""
    try:
        if preempted(show_job(job)):
            return "Slurm preempts the job"
        lost = lost_nodes(job, names)
    except PlatformError:
        return ""
    return f"Slurm has lost {', '.join(lost)}" if lost else ""
