"""What becomes of a run whose job of Ray has ended: the exit code, and whether another job may follow. Pure.

The journal's word counts most: Ray calls a run that yielded FAILED, and one that was ended before it could save
STOPPED. No clocks are compared: what counts of the journal is what was added since the submission.
"""

from dataclasses import dataclass

from launcher.core.errors import FAILED, FINISHED, INFRASTRUCTURE, REFUSED, YIELDED
from launcher.platforms.ray_jobs import RayJob
from launcher.platforms.slurm_told import End

OWN = frozenset({FINISHED, FAILED, REFUSED, YIELDED, INFRASTRUCTURE})
"""Exit codes that launcher gives; any other is the shell's, or a signal's."""
NO_COMMAND = frozenset({126, 127})
"""Of the shell: the command cannot be executed, or is not there."""
SETUP = "RUNTIME_ENV_SETUP_FAILURE"
FIRST_PAUSE_S, LONGEST_PAUSE_S = 5.0, 300.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a job's end comes to."""

    code: int
    """The exit code of the command that followed it."""
    again: bool
    """Whether another job would go on, with nobody's help."""
    said: str
    """How the job ended, in a few words."""


def verdict(job: RayJob | None, end: End | None, *, stopped: bool) -> Verdict:
    """Return what follows from a job that is over, or that its cluster does not know (None).

    `end` is how the run ended in this job, where its journal tells; `stopped` whether somebody asked the job to stop
    for good.
    """
    meant = stopped or (end is not None and end.on_request)
    if job is None:
        return _lost(end, "the cluster does not know the job any more: it is another one", again=not meant)
    if job.state == "SUCCEEDED":
        return Verdict(FINISHED, False, "the job succeeded")
    if job.state == "STOPPED":
        code = YIELDED if end is None else end.exit_code
        return Verdict(code, False, "the job was stopped" + ("" if end else " before the run could say how it ends"))
    if job.driver_code in OWN:
        code = job.driver_code
        return Verdict(code, code == YIELDED and not meant, f"the job ended with exit code {code}")
    if job.driver_code in NO_COMMAND:
        return Verdict(REFUSED, False, f"the cluster's shell could not start the command: {_last_line(job.message)}")
    if job.error == SETUP:
        return Verdict(INFRASTRUCTURE, False, f"Ray could not set up the job: {_last_line(job.message)}")
    how = f"exit code {job.driver_code}" if job.driver_code is not None else _last_line(job.message) or job.error
    return _lost(end, f"the job was lost ({how})", again=not meant)


def _lost(end: End | None, said: str, *, again: bool) -> Verdict:
    """Return what follows from a job whose end Ray does not tell."""
    if end is None:
        return Verdict(INFRASTRUCTURE, again, said)
    return Verdict(end.exit_code, again and end.exit_code == YIELDED, said)


def pause_s(in_vain: int) -> float:
    """Return how long to wait before the next job, by how many in a row have saved nothing new."""
    return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(in_vain, 20))


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1].strip()[:300] if lines else ""
