"""A person's folder on a login machine, with a run that has a job; Slurm's commands are scripts there.

squeue prints what the test wrote, scancel changes it. A real Slurm is asked the same in
tests/platforms/test_slurm_queued_runs.py.
"""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from launcher.cli import presence, stop_job
from launcher.cli.stop import stop
from launcher.storage.jobs import record_submitted
from launcher.storage.run_dir import RunDir

SQUEUE = """#!/bin/sh
test -s queue && exec cat queue
echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1
"""
SCANCEL = "#!/bin/sh\necho $1 >> cancelled\nsed -i 's/PENDING/CANCELLED/; s/RUNNING/CANCELLED/' queue\n"


class Desk:
    """A person's folder, with a run that has a job."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.run = folder, RunDir(folder / "runs/chat")
        record_submitted(self.run, "42", time.time())

    def command(self, name: str, text: str) -> None:
        (self.folder / "bin" / name).write_text(text)
        (self.folder / "bin" / name).chmod(0o755)

    def queue(self, state: str, reason: str = "None", nodes: str = "", start: str = "N/A",
              left: str = "1:00:00") -> None:
        (self.folder / "next").write_text(f"42|{state}|{start}|2-00:00:00|{left}|{nodes}|/home/me|{reason}\n")
        (self.folder / "next").replace(self.folder / "queue")

    def journal(self, *events: dict[str, Any]) -> None:
        text = "".join(f"{json.dumps(event)}\n" for event in events)
        (self.folder / "runs/chat/journal.jsonl").write_text(text)

    def cancelled(self) -> str:
        path = self.folder / "cancelled"
        return path.read_text() if path.exists() else ""


def sit_down(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """Return the desk, with this process at it."""
    monkeypatch.chdir(folder)
    (folder / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{folder / 'bin'}:{os.environ['PATH']}")
    for module, name in ((presence, "WAITING_S"), (presence, "MOVING_S"), (stop_job, "POLL_S")):
        monkeypatch.setattr(module, name, 0.05)
    desk = Desk(folder)
    desk.command("squeue", SQUEUE)
    desk.command("scancel", SCANCEL)
    return desk


def stop_it(*, wait: bool = True) -> None:
    """Stop the run."""
    stop("chat", within=None, now=False, wait=wait, as_json=False)
