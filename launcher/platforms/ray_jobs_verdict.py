"""What becomes of a run whose job of Ray has ended: the exit code, and whether another job may follow. Pure.

The journal's word counts most: Ray calls a run that yielded FAILED, and one that was ended before it could save
STOPPED. No clocks are compared: what counts of the journal is what was added since the submission.

Another job follows where the run yielded, where its cluster was lost, and where the run gave up for want of
infrastructure (exit code 76): each new job has its budgets anew. If what spent them lies in the run's own processes
(they crash, hang, cannot save), no more than so many jobs in a row may save nothing new.
"""

from dataclasses import dataclass

from launcher.core.errors import FAILED, FINISHED, INFRASTRUCTURE, REFUSED, YIELDED
from launcher.core.failure import FailureKind
from launcher.platforms.ray_jobs import RayJob
from launcher.platforms.slurm_told import End

OWN = frozenset({FINISHED, FAILED, REFUSED, YIELDED, INFRASTRUCTURE})
"""Exit codes that launcher gives; any other is the shell's, or a signal's."""
GOES_ON = frozenset({YIELDED, INFRASTRUCTURE})
NO_COMMAND = frozenset({126, 127})
"""Of the shell: the command cannot be executed, or is not there."""
SETUP = "RUNTIME_ENV_SETUP_FAILURE"
CLUSTERS = frozenset({FailureKind.NODE_LOSS, FailureKind.PREEMPTION, FailureKind.STARTUP})
"""Kinds of failure that another cluster, or the same one later, may not have: nodes that never came, or went."""
FRUITLESS = 3
"""Jobs in a row that may spend the run's own budgets and save nothing new: each has tried several times by itself."""
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
    gave_up: bool = False
    """Whether the run had spent its budgets on failures of its own processes."""


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
        return Verdict(code, code in GOES_ON and not meant, f"the job ended with exit code {code}", _gave_up(code, end))
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
    return Verdict(end.exit_code, again and end.exit_code in GOES_ON, said, _gave_up(end.exit_code, end))


def _gave_up(code: int, end: End | None) -> bool:
    # Without an end in the journal the run never began: whatever it lacked was the cluster's.
    return code == INFRASTRUCTURE and end is not None and end.failure not in CLUSTERS


def given_up_after(ended: Verdict, before: int, *, saved: bool) -> int:
    """Return how many jobs in a row, up to this one, spent the run's budgets and saved nothing new."""
    return 0 if saved else before + ended.gave_up


def pause_s(in_vain: int) -> float:
    """Return how long to wait before the next job, by how many in a row have saved nothing new."""
    return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(in_vain, 20))


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1].strip()[:300] if lines else ""
