"""A Ray cluster whose jobs do what the test says, as its dashboard shows them."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import pytest

import launcher
from launcher.cli import follow_ray, presence, ray_queue, stop_job, submit_ray
from launcher.core.errors import PlatformError
from launcher.platforms import ray_jobs_verdict
from launcher.platforms.ray_jobs import RayJob
from launcher.platforms.ray_jobs_client import IdUsed
from launcher.platforms.ray_jobs_request import Request
from launcher.storage import submitting
from launcher.storage.jobs import JobRecord, reserve
from launcher.storage.run_dir import RunDir

URL = "http://head:8265"

Play = Callable[["Cluster", str], None]
"""What a job does when it is looked at: called once for each look."""


class Cluster:
    """What its dashboard knows."""

    def __init__(self) -> None:
        self.jobs: dict[str, RayJob] = {}
        self.requests: list[Request] = []
        self.packages: list[dict[str, bytes]] = []
        self.printed: dict[str, str] = {}
        self.stopped: list[str] = []
        self.away = 0
        """Questions that nobody will answer."""
        self.refusal: Exception | None = None
        self.refusals = 0
        """Submissions that will not be taken."""
        self.play: Play = lambda cluster, job: cluster.set(job, state="SUCCEEDED", driver_code=0)

    def set(self, job: str, **fields: object) -> None:
        self.jobs[job] = replace(self.jobs[job], **fields)  # type: ignore[arg-type]


class Board:
    """Stands for `ray_jobs_client.Dashboard`."""

    cluster: Cluster

    def __init__(self, address: str, patience_s: float = 0.0) -> None:
        self._reached()

    def _reached(self) -> None:
        if self.cluster.away:
            self.cluster.away -= 1
            raise PlatformError(f"{URL}: no answer.")

    def job(self, job: str) -> RayJob | None:
        self._reached()
        if job in self.cluster.jobs and self.cluster.jobs[job].live:
            self.cluster.play(self.cluster, job)
        return self.cluster.jobs.get(job)

    def jobs(self) -> list[RayJob]:
        self._reached()
        return list(self.cluster.jobs.values())

    def logs(self, job: str) -> str:
        return self.cluster.printed.get(job, "")

    def stop(self, job: str) -> None:
        self.cluster.stopped.append(job)
        self.cluster.set(job, state="STOPPED")

    def submit(self, request: Request, package: Path) -> None:
        if self.cluster.refusal is not None:
            raise self.cluster.refusal
        if self.cluster.refusals:
            self.cluster.refusals -= 1
            raise PlatformError("no agent yet.")
        if request.submission_id in self.cluster.jobs:
            raise IdUsed("already exists")
        self.cluster.requests.append(request)
        with ZipFile(BytesIO(package.read_bytes())) as files:
            self.cluster.packages.append({name: files.read(name) for name in files.namelist()})
        self.cluster.jobs[request.submission_id] = RayJob(request.submission_id, "PENDING", metadata=request.metadata)


def sit_down(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """Sit in an empty folder before a cluster; little is copied of launcher's code."""
    monkeypatch.chdir(folder)
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "RAY_JOB_CONFIG_JSON_ENV_VAR", "LAUNCHER_CACHE"):
        monkeypatch.delenv(name, raising=False)
    cluster = Cluster()
    monkeypatch.setattr(Board, "cluster", cluster, raising=False)
    monkeypatch.setattr(submit_ray, "Dashboard", Board)
    monkeypatch.setattr(ray_queue, "dashboard", Board)
    monkeypatch.setattr(submitting, "own_code", lambda: ({"launcher/__init__.py": Path(launcher.__file__)}, []))
    for module, name in ((follow_ray, "POLL_S"), (ray_jobs_verdict, "FIRST_PAUSE_S"), (presence, "WAITING_S"),
                         (presence, "MOVING_S"), (stop_job, "POLL_S")):
        monkeypatch.setattr(module, name, 0.01)
    return cluster


def with_job(cluster: Cluster, run: RunDir, state: str, number: int = 1) -> str:
    """Give a run a job that was submitted before."""
    job = f"{run.name}.a{number:03d}"
    reserve(run, JobRecord(job=job, time=time.time(), platform="ray", address=URL))
    cluster.jobs[job] = RayJob(job, state, metadata={"run_dir": run.url})
    return job


def ends(run: RunDir, outcome: str, code: int, *reasons: str, saved: int | None = None,
         failure: str | None = None) -> None:
    """Write into a run's journal what an attempt of it comes to."""
    events: list[dict[str, object]] = [{"event": "attempt_started", "workers": [], "world_size": 1, "resume": None}]
    if saved is not None:
        events.append({"event": "checkpoint_committed", "step": saved, "seconds": 0.1})
    events += [{"event": "stop_requested", "reason": reason, "deadline": None} for reason in reasons]
    if failure is not None:
        events.append({"event": "failure", "kind": failure, "rank": -1, "node": "", "step": None, "message": "gone"})
    events.append({"event": "run_ended", "outcome": outcome, "exit_code": code})
    run.path.mkdir(parents=True, exist_ok=True)
    with (run.path / run.JOURNAL).open("a") as journal:
        journal.writelines(json.dumps({"time": time.time(), "attempt": 1, **event}) + "\n" for event in events)
