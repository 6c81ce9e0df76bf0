"""Runs whose jobs wait, begin and are queued again in a real Slurm, seen and stopped from the login machine.

Jobs that get nodes only sleep there: what they would do is in test_slurm_jobs. The cluster has JobRequeue=0.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from launcher.storage.jobs import record_began, record_submitted
from launcher.storage.run_dir import RunDir
from launcher.storage.shipped import shipped
from tests.platforms.a_slurm import Slurm, why_not

pytestmark = [pytest.mark.skipif(bool(why_not()), reason=why_not() or "it is possible"), pytest.mark.slow,
              pytest.mark.timeout(300)]


class Desk:
    """A person on the login machine."""

    def __init__(self, slurm: Slurm, folder: Path) -> None:
        self.slurm, self.folder = slurm, folder

    def launcher(self, *words: object) -> "subprocess.CompletedProcess[str]":
        return self.slurm.type(sys.executable, "-m", "launcher.cli.main", *words, cwd=self.folder,
                               PYTHONPATH=str(Path(__file__).parents[2]))

    def status(self, run: str) -> dict[str, Any]:
        done = self.launcher("status", run, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def submit_for_later(self, run: str) -> "subprocess.CompletedProcess[str]":
        return self.launcher("submit", "quickstart", "--on", "slurm", "--run-dir", run, "--set",
                             "slurm.extra.begin=now+1hour")

    @contextmanager
    def silent_controller(self) -> Iterator[None]:
        """Let slurmctld take connections and answer nothing."""
        pid = int((self.slurm.folder / "slurmctld.pid").read_text())
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with Slurm(nodes=1, requeue=False) as slurm:
        yield Desk(slurm, tmp_path_factory.mktemp("desk"))


def test_a_run_that_waits_is_seen_not_submitted_twice_and_cancelled_by_a_stop(desk: Desk) -> None:
    job = int(desk.submit_for_later("later").stdout.split()[1])
    found = desk.status("later")
    assert (found["state"], found["job"]["id"], found["job"]["state"]) == ("queued", str(job), "PENDING")
    assert 3000 < found["job"]["expected_start"] - time.time() < 3700
    again = desk.submit_for_later("later")
    assert again.returncode == 2 and f"job {job} waits in the queue" in again.stderr, again.stdout
    begin = time.monotonic()
    with desk.silent_controller():
        found = desk.status("later")
    assert time.monotonic() - begin < 20 and found["job"]["state"] == "unknown", found
    assert "no answer within 5 s" in found["job"]["said"]
    stopped = desk.launcher("stop", "later")
    assert stopped.returncode == 0 and f"job {job} is cancelled" in stopped.stdout, stopped.stderr
    assert desk.slurm.job(job)["JobState"] == "CANCELLED"
    assert desk.submit_for_later("later").returncode == 0, "after a cancelled job there may be another"
    desk.slurm.cancel_all()


def test_a_job_of_the_shipped_script_is_queued_again_whatever_the_site_says_and_a_stop_cancels_it(
        desk: Desk, tmp_path: Path) -> None:
    sleeper = tmp_path / "python"
    sleeper.write_text("#!/bin/sh\nexec sleep 600\n")
    sleeper.chmod(0o755)
    job = int(desk.slurm.done("sbatch", "--parsable", "--output=/dev/null", shipped("slurm", "train.sbatch"), "x.yaml",
                              LAUNCHER_PYTHON=str(sleeper)))
    run = RunDir(desk.folder / "again")
    record_submitted(run, str(job), time.time())
    desk.slurm.await_state(job, ("RUNNING",))
    found = desk.status("again")
    assert (found["state"], found["job"]["nodes"]) == ("starting", desk.slurm.names[0])
    record_began(run, str(job), time.time(), allocations=1)
    desk.slurm.done("scontrol", "requeue", job)
    desk.slurm.await_state(job, ("PENDING",))
    found = desk.status("again")
    assert found["state"] == "queued" and f"job {job} is queued again and waits" in found["job"]["said"]
    listed = desk.launcher("ls", ".")
    assert f"{job} " in listed.stdout and "queued" in listed.stdout, listed.stderr
    assert f"job {job} is cancelled" in desk.launcher("stop", "again").stdout
    assert desk.slurm.job(job)["JobState"] == "CANCELLED"


def test_a_stop_cancels_one_task_of_an_array_and_leaves_the_others(desk: Desk) -> None:
    array = desk.slurm.done("sbatch", "--parsable", "--array=1-2", "--begin=now+1hour", "--output=/dev/null", "--wrap",
                            "true").strip()
    record_submitted(RunDir(desk.folder / "task"), f"{array}_2", time.time())
    assert f"job {array}_2 is cancelled" in desk.launcher("stop", "task").stdout
    left = desk.slurm.done("squeue", "--noheader", "--array", "--format=%i")
    assert left.split() == [f"{array}_1"]
    desk.slurm.cancel_all()
