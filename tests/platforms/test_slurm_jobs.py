"""Runs as jobs of a real Slurm on two simulated machines: to the end, and across everything that ends an allocation.

Real command lines, Ray and workers. The warning of a time limit is sent by `scancel --batch --signal=USR1`, which
delivers it as Slurm does, at a moment that the test chooses; the campaign waits for real limits.
"""

import hashlib
import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from launcher.storage.shipped import shipped
from tests.platforms.a_slurm import Slurm, awaited, why_not

pytestmark = [pytest.mark.skipif(bool(why_not()), reason=why_not() or "it is possible"), pytest.mark.timeout(600)]

SCRIPT = shipped("slurm", "train.sbatch")
LENGTHS = (3, 3, 24)
LONG = (3, 3, 300)
"""For more allocations of two minutes than two."""
PATIENCE_S = 240.0
"""For a machine that does much else at the same time."""


class Cluster:
    """A person at the cluster's command line, in a folder that all machines see."""

    def __init__(self, slurm: Slurm, folder: Path) -> None:
        self.slurm, self.folder = slurm, folder
        self.environment = {"LAUNCHER_CACHE": str(folder / "cache"), "LAUNCHER_PYTHON": sys.executable,
                            "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1",
                            "PYTHONPATH": str(Path(__file__).parents[2])}

    def launcher(self, *arguments: object) -> str:
        return self.slurm.done(sys.executable, "-m", "launcher.cli.main", *arguments, cwd=self.folder,
                               **self.environment)

    def submit(self, run: str) -> int:
        printed = self.launcher("submit", "quickstart", "--on", "slurm", "--nodes", 2, "--run-dir", run, *recipe())
        return int(printed.split()[1])

    def sbatch(self, run: str, *options: str, lengths: Sequence[int] = LENGTHS) -> int:
        printed = self.slurm.done("sbatch", "--parsable", "--nodes=2", *options, SCRIPT, "quickstart", "--run-dir", run,
                                  *recipe(lengths), cwd=self.folder, **self.environment)
        return int(printed)

    def journal(self, run: str) -> list[dict[str, Any]]:
        path = self.folder / run / "journal.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines() if line[-1:] == "}"] if path.exists() else []

    def events(self, run: str, name: str, attempt: int = 0) -> list[dict[str, Any]]:
        return [event for event in self.journal(run)
                if event["event"] == name and attempt in (0, event["attempt"])]

    def await_step(self, run: str, job: int, attempt: int, step: int) -> None:
        """Wait until an attempt has done a step. Raises if its job ends before."""
        def there() -> bool:
            assert self.slurm.job(job)["JobState"] in ("PENDING", "RUNNING", "COMPLETING"), self.output()
            # What the attempt before did and only its checkpoint told is journalled by the next one, before it begins.
            return any(event["step"] >= step and not event.get("recovered")
                       for event in self.events(run, "step", attempt))

        awaited(there, f"step {step} of attempt {attempt}", PATIENCE_S)

    def saved(self, run: str) -> int:
        """Return the step of the newest checkpoint."""
        found = (self.folder / run / "checkpoints").glob("step-*/manifest.json")
        return max(json.loads(path.read_text())["step"] for path in found)

    def output(self) -> str:
        return "\n".join(path.read_text()[-3000:] for path in self.folder.rglob("slurm-*.out"))

    def left(self) -> list[Path]:
        """Return folders of Ray that jobs left on the machines."""
        return list(Path("/tmp").glob("lr[0-9]*-[01]"))


def recipe(lengths: Sequence[int] = LENGTHS) -> list[str]:
    fields = [f"stages.{stage}.length.steps={steps}" for stage, steps in enumerate(lengths)]
    return [word for each in (*fields, "cluster.threads=1") for word in ("--set", each)]


def losses(cluster: Cluster, run: str) -> dict[int, tuple[object, ...]]:
    """Return what counts of each step; of one that was redone, the last."""
    return {event["step"]: (event["loss"], event["grad_norm"], event["rows_digest"], event["world_size"])
            for event in cluster.events(run, "step")}


def weights(cluster: Cluster, run: str) -> str:
    return hashlib.sha256((cluster.folder / run / "model/model.safetensors").read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Slurm(nodes=2) as slurm:
        made = Cluster(slurm, tmp_path_factory.mktemp("cluster"))
        yield made
        slurm.cancel_all()
    assert made.left() == []
    shutil.rmtree(made.folder, ignore_errors=True)


@pytest.fixture(scope="module")
def unbroken(cluster: Cluster) -> str:
    """Submit a run and wait for its end; return its directory."""
    job = cluster.submit("whole")
    ended = cluster.slurm.await_state(job, patience_s=PATIENCE_S)
    assert (ended["JobState"], ended["ExitCode"]) == ("COMPLETED", "0:0"), cluster.output()
    return "whole"


@pytest.mark.slow
def test_a_submitted_run_finishes_with_a_worker_on_each_node(cluster: Cluster, unbroken: str) -> None:
    started = cluster.events(unbroken, "attempt_started")
    assert [[worker["node"] for worker in event["workers"]] for event in started] == [cluster.slurm.names]
    assert json.loads(cluster.launcher("status", unbroken, "--json"))["state"] == "finished"
    again = cluster.launcher("submit", "quickstart", "--on", "slurm", "--run-dir", unbroken, *recipe())
    assert "is finished already" in again


@pytest.mark.slow
def test_a_job_by_hand_that_is_out_of_time_goes_on_in_its_next_allocation_bit_for_bit(cluster: Cluster,
                                                                                       unbroken: str) -> None:
    job = cluster.sbatch("timed")
    cluster.await_step("timed", job, attempt=1, step=2)
    cluster.slurm.done("scancel", "--batch", "--signal=USR1", job)
    cluster.slurm.await_state(job, ("PENDING",), PATIENCE_S)
    assert [event["reason"] for event in cluster.events("timed", "stop_requested")] == ["time_limit"]
    assert cluster.events("timed", "run_ended")[-1]["exit_code"] == 75
    cluster.slurm.start_again(job)
    ended = cluster.slurm.await_state(job, patience_s=PATIENCE_S)
    assert (ended["JobState"], ended["Restarts"]) == ("COMPLETED", "1"), cluster.output()
    resumed = cluster.events("timed", "attempt_started")[-1]["resume"]
    assert resumed == cluster.events("timed", "step", attempt=1)[-1]["step"] < sum(LENGTHS)
    assert losses(cluster, "timed") == losses(cluster, unbroken)
    assert weights(cluster, "timed") == weights(cluster, unbroken)


@pytest.mark.slow
def test_a_preempted_run_loses_no_step_and_goes_on_and_a_cancelled_one_saves_and_ends(cluster: Cluster) -> None:
    job = cluster.submit("shared")
    cluster.await_step("shared", job, attempt=1, step=2)
    urgent = int(cluster.slurm.done("sbatch", "--parsable", "--partition=high", "--nodes=2", "--output=/dev/null",
                                    "--wrap", "true"))
    assert cluster.slurm.await_state(urgent)["JobState"] == "COMPLETED"
    done = cluster.events("shared", "step", attempt=1)[-1]["step"]
    assert cluster.saved("shared") >= done
    cluster.slurm.start_again(job)
    cluster.await_step("shared", job, attempt=2, step=done + 2)
    resumed = cluster.events("shared", "attempt_started")[-1]["resume"]
    assert resumed is not None and resumed >= done, cluster.output()
    cluster.slurm.done("scancel", job)
    cluster.slurm.cancel_all()
    assert cluster.slurm.job(job)["JobState"] == "CANCELLED"
    assert cluster.saved("shared") >= cluster.events("shared", "step", attempt=2)[-1]["step"] > done


@pytest.mark.campaign
@pytest.mark.timeout(3600)
def test_a_run_longer_than_its_limit_crosses_real_limits_by_itself(cluster: Cluster) -> None:
    jobs = [cluster.sbatch("unlimited", lengths=LONG), cluster.sbatch("limited", "--time=2", "--signal=B:USR1@50",
                                                                       lengths=LONG)]
    unlimited, limited = (cluster.slurm.await_state(job, patience_s=1700.0) for job in jobs)
    assert unlimited["JobState"] == limited["JobState"] == "COMPLETED", cluster.output()
    assert int(limited["Restarts"]) >= 2
    assert losses(cluster, "limited") == losses(cluster, "unlimited")
    assert weights(cluster, "limited") == weights(cluster, "unlimited")
