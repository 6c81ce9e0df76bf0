"""One node's task, from its orders to its end, with something else in the place of `ray start`."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from launcher.platforms.slurm_ray import Orders, Report
from launcher.storage.process_id import ProcessId, descendants, process_id

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]

TASK = """
import sys
from pathlib import Path
from launcher.platforms import slurm_abandoned, slurm_node, slurm_ray
slurm_abandoned.LOOK_S = 0.2
slurm_ray.RAY = ("sh", "-c", sys.argv[1])
slurm_node.folder = slurm_ray.folder = lambda job, node: Path(sys.argv[2])
sys.exit(slurm_node.main())
"""
SCONTROL = """#!/bin/sh
echo "$@" >> {told}
case "$*" in
    *hostnames*) echo node2 ;;
    *) echo JobId=1 JobState=RUNNING Restarts=0 NodeList=node2 BatchHost=node1 ;;
esac
"""
DAEMON = "setsid sleep 60 & exit 0"
SLURM = {"SLURM_NODEID": "1", "SLURMD_NODENAME": "node2", "SLURM_JOB_CPUS_PER_NODE": "2(x2)"}
ORDERS = Orders(job=1, handle="1", address="127.0.0.1", port=20_000, token="planted")
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start the task with a command in place of Ray's; its folder is `ray`."""
    started: list[subprocess.Popen[str]] = []

    def act(ray: str, orders: Orders = ORDERS) -> "subprocess.Popen[str]":
        task = subprocess.Popen([sys.executable, "-c", TASK, ray, str(tmp_path / "ray")], stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, text=True, env={**os.environ, **SLURM})
        assert task.stdin is not None
        task.stdin.write(orders.model_dump_json() + "\n")
        task.stdin.flush()
        started.append(task)
        return task

    yield act
    for task in started:
        task.communicate(timeout=30)


def report(task: "subprocess.Popen[str]") -> Report:
    assert task.stdout is not None
    return Report.from_json(task.stdout.readline())


def daemons(task: "subprocess.Popen[str]") -> list[ProcessId]:
    return [process for process in descendants(process_id(task.pid)) if process.alive()]


def test_a_node_is_held_through_sigterm_until_its_input_closes_and_then_nothing_is_left(start: Start,
                                                                                     tmp_path: Path) -> None:
    task = start(DAEMON)
    assert report(task) == Report(node=1, name="node2")
    token = tmp_path / "ray/token"
    assert token.read_text() == "planted" and token.stat().st_mode & 0o77 == 0
    held = daemons(task)
    task.terminate()
    with pytest.raises(subprocess.TimeoutExpired):
        task.wait(0.5)
    assert len(held) == 1 and held[0].alive()
    task.communicate()
    assert task.returncode == 0 and not held[0].alive() and not (tmp_path / "ray").exists()


def test_a_node_whose_jobs_first_one_is_lost_queues_the_job_again_and_leaves(start: Start, tmp_path: Path,
                                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    scontrol = tmp_path / "bin/scontrol"
    scontrol.parent.mkdir()
    scontrol.write_text(SCONTROL.format(told=tmp_path / "told"))
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", f"{scontrol.parent}:{os.environ['PATH']}")
    task = start(DAEMON)
    assert report(task) == Report(node=1, name="node2")
    assert task.wait(20) == 0 and not (tmp_path / "ray").exists()
    assert (tmp_path / "told").read_text().splitlines()[-1] == "requeue 1"


def test_a_ray_that_does_not_start_is_tried_on_other_ports_and_then_told(start: Start, tmp_path: Path) -> None:
    task = start(f"echo port is busy; echo . >> {tmp_path}/tries; exit 3")
    found = report(task)
    assert (found.node, found.name) == (1, "node2") and "port is busy" in found.problem
    task.communicate()
    assert task.returncode == 76 and (tmp_path / "tries").read_text().count(".") == 3


def test_a_node_that_does_not_get_to_its_runs_storage_says_so_and_starts_nothing(
        start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "tester")
    task = start(f"touch {tmp_path}/started", ORDERS.model_copy(update={"run": "s3://bucket/runs/x"}))
    found = report(task)
    assert f"{socket.gethostname()} does not get to the run's storage: s3://bucket/runs/x/plan.json: the storage " in (
        found.problem), found
    assert task.wait(20) == 76 and not (tmp_path / "started").exists() and not (tmp_path / "ray").exists()
