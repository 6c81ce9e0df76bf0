"""The evidence of a failed attempt: what is said beside the failures themselves, read from the run directory."""

from collections.abc import Sequence

from launcher.core.events import Decision
from launcher.core.failure import WorkerFailure
from launcher.core.failure_page import Evidence, decided, failure_page
from launcher.core.failure_report import causes
from launcher.core.stacks import main_frames, odd_one_out
from launcher.storage.run_dir import RunDir

RANKS_READ = 64
"""Files of stacks that are compared: of a thousand ranks in one collective as many say enough."""


def evidence_of(run: RunDir, shown: str, attempt: int, failures: Sequence[WorkerFailure],
                decision: Decision | None) -> Evidence:
    """Return the evidence of an attempt's failures. `shown` is what paths begin with."""
    first = causes(failures)[0]
    alike = [failure.rank for failure in causes(failures) if failure.message == first.message]
    frames = {rank: main_frames(run.read_stacks(attempt, rank)) for rank in alike[:RANKS_READ]}
    rank = odd_one_out(frames)
    log = "controller.log" if first.rank < 0 else f"rank-{first.rank:03d}.log"
    return Evidence(log=shown + run.attempt_key(attempt, log),
                    decision=decided(decision, first.message) if decision else "",
                    stacks="" if rank is None else shown + run.attempt_key(attempt, f"rank-{rank:03d}.stacks"),
                    rank=rank or 0, frames=() if rank is None else frames[rank])


def write_page(run: RunDir, attempt: int, step: int, failures: Sequence[WorkerFailure],
               decision: Decision | None) -> None:
    """Keep the page of a failed attempt in its folder: the run goes on, and its end tells other things."""
    text = failure_page(attempt, step, failures, evidence_of(run, "", attempt, failures, decision))
    run.store.put(run.attempt_key(attempt, "failure.txt"), text.encode() + b"\n")
