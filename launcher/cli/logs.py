"""The body of `launcher logs`: what a rank of the newest attempt printed."""

import sys
import time
from pathlib import Path
from typing import BinaryIO

from launcher.cli.find_run import find_run
from launcher.core.errors import UserError
from launcher.storage.lock import holder_of
from launcher.storage.run_dir import RunDir
from launcher.storage.run_start import next_attempt

POLL_S = 0.2
BLOCK = 2**16


def logs(argument: str, *, rank: int | None, follow: bool) -> None:
    """Copy a log to standard output; with `follow`, until the run has ended. Without a rank, the controller's too."""
    run, shown = find_run(argument)
    attempt = next_attempt(run) - 1
    if rank is None:
        _copy(run.path / run.attempt_key(attempt, "controller.log"))
    log = run.path / run.attempt_key(attempt, f"rank-{rank or 0:03d}.log")
    if not log.exists() and not (follow and holder_of(run)):
        there = sorted(path.name for path in log.parent.glob("rank-*.log"))
        raise UserError(f"{shown}: attempt {attempt} has no log of rank {rank or 0}; "
                        f"{f'there are {len(there)}: {there[0]} to {there[-1]}' if there else 'no worker began'}")
    _copy(log, run if follow else None)
    if log.exists() and log.stat().st_size == 0:
        sys.stderr.write(f"{log}: empty, the worker printed nothing\n")


def _copy(path: Path, following: RunDir | None = None) -> None:
    while not path.exists():
        if following is None or holder_of(following) is None:
            return
        time.sleep(POLL_S)
    with path.open("rb") as file:
        while True:
            alive = following is not None and holder_of(following) is not None
            _drain(file)
            if not alive:
                return
            time.sleep(POLL_S)


def _drain(file: BinaryIO) -> None:
    while block := file.read(BLOCK):
        sys.stdout.write(block.decode(errors="replace"))
    sys.stdout.flush()
