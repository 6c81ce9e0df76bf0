"""What the process of a job's batch script says in the job's log. Decides in which log, and how trouble is told."""

import os
import socket
import sys
import time

from launcher.storage.reach import unreached
from launcher.storage.run_dir import RunDir


def say(line: str) -> None:
    """Write one line, with the time and the machine."""
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} launcher on {socket.gethostname()}: {line}\n")
    sys.stdout.flush()


def trouble(error: OSError) -> str:
    """Return trouble with a file or with the run's storage in one sentence. Raises the error if it is with neither."""
    if error.filename is None:
        raise error
    return unreached(error) if "://" in str(error.filename) else f"{error.filename}: {error.strerror}"


def write_on_in(run: RunDir, handle: str, task: int) -> None:
    """Write on into the run's directory: sbatch has one log for all tasks of a job array."""
    run.path.mkdir(parents=True, exist_ok=True)
    log = run.path / run.SLURM_LOG.replace("%j", handle)
    say(f"task {task} of the array is {run.url}; its log is {log}")
    with log.open("ab") as file:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(file.fileno(), stream.fileno())
