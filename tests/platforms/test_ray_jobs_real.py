"""A run as jobs of a real Ray cluster with a dashboard: by `launcher submit`, and as Ray's own users type it.

One run goes through all of it: submitted, stopped, submitted again, its job stopped by Ray's command, then gone on with
and finished by plain `ray job submit`, twice. Nothing of the folder that jobs are submitted from is seen by the cluster
but the run directory and what goes along.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from launcher.cli.queue import sight
from launcher.cli.stop import stop
from launcher.platforms.ray_jobs import living_job_of
from launcher.platforms.ray_jobs_client import Dashboard
from launcher.storage.process_id import descendants, leave, process_id
from launcher.storage.run_dir import RunDir

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
PATIENCE_S = 200.0
PORTS = ("port", "node-manager-port", "object-manager-port", "runtime-env-agent-port", "dashboard-agent-grpc-port",
         "dashboard-agent-listen-port", "metrics-export-port", "ray-client-server-port", "dashboard-port")
RECIPE = """
name: toy
model:
  init: {architecture: llama, hidden_size: 32, intermediate_size: 32, num_hidden_layers: 1, num_attention_heads: 2}
  tokenizer: {train: {vocab_size: 300}}
deepspeed: zero3
sequence_length: 64
sources: {texts: {path: texts.jsonl}}
stages: [{name: only, length: {steps: 200}, mix: {texts: 1}}]
batch: {rows: 2}
learning_rate: 1e-3
cluster: {workers: 1}
"""
SECRETS = {"WANDB_API_KEY": "planted-in-the-environment", "HF_TOKEN": "hf_plantedplantedplanted"}


def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, without taking the cores from what is waited for."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.2)


class Cluster:
    """Somebody's Ray: a head with a dashboard, for this test alone."""

    def __init__(self, folder: Path) -> None:
        with ExitStack() as opened:
            found = [opened.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in PORTS]
            ports = dict(zip(PORTS, (each.getsockname()[1] for each in found), strict=True))
        self.url = f"http://127.0.0.1:{ports['dashboard-port']}"
        self.folder, self.log = folder, folder / "head.log"
        # As on any cluster, its nodes have Ray and launcher installed: here, beside this interpreter.
        self.port = ports["port"]
        self.environment = {**os.environ, "RAY_worker_niceness": "0", "RAY_AUTH_MODE": "disabled",
                            "RAY_USAGE_STATS_ENABLED": "0", "RAY_enable_metrics_collection": "0",
                            "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "HOME": str(folder / "home"),
                            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        for name in (*SECRETS, "RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
            self.environment.pop(name, None)
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--num-cpus=2",
                   "--node-ip-address=127.0.0.1", "--dashboard-host=127.0.0.1", "--include-dashboard=true",
                   f"--temp-dir={folder / 'r'}", f"--object-store-memory={80 * 2**20}",
                   *(f"--{name}={port}" for name, port in ports.items())]
        (folder / "home").mkdir()
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log, cwd=folder,
                                            start_new_session=True)

    def answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        try:
            Dashboard(self.url).jobs()
        except Exception:
            return False
        return True

    def end(self) -> None:
        family = [process_id(self.process.pid), *descendants(process_id(self.process.pid))]
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        leave([each for each in family if each.alive()], 0.0)


@pytest.fixture
def cluster(monkeypatch) -> Iterator[Cluster]:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    folder = Path(tempfile.mkdtemp(prefix="rj-", dir="/tmp"))  # Ray's sockets need a short path.
    cluster = Cluster(folder)
    try:
        until(cluster.answers)
        yield cluster
    finally:
        cluster.end()
        shutil.rmtree(folder, ignore_errors=True)


class Laptop:
    """A person's folder, and what is typed there."""

    def __init__(self, folder: Path, cluster: Cluster) -> None:
        self.folder, self.cluster, self.run = folder / "mine", cluster, folder / "shared/toy"
        self.folder.mkdir()
        (self.folder / "toy.yaml").write_text(RECIPE)
        (self.folder / "texts.jsonl").write_text("".join(
            json.dumps({"text": f"{number} follows {number - 1}. " * 9}) + "\n" for number in range(60)))
        (self.folder / ".gitignore").write_text("shared/\n")
        self.environment = {**cluster.environment, **SECRETS, "RAY_ADDRESS": "", "HOME": str(folder)}
        self.printed: list[str] = []

    def start(self, *words: str) -> "subprocess.Popen[str]":
        return subprocess.Popen([sys.executable, "-m", *words], cwd=self.folder, env=self.environment, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def end(self, process: "subprocess.Popen[str]") -> tuple[int, str]:
        self.printed.append(process.communicate(timeout=PATIENCE_S)[0])
        print(self.printed[-1])
        return process.returncode, self.printed[-1]

    def submit(self) -> "subprocess.Popen[str]":
        return self.start("launcher.cli.main", "submit", "toy.yaml", "--on", "ray", "--address", self.cluster.url,
                          "--run-dir", str(self.run), "--with-data")

    def plain(self) -> "subprocess.Popen[str]":
        return self.start("ray.scripts.scripts", "job", "submit", "--address", self.cluster.url, "--working-dir", ".",
                          "--", "python", "-m", "launcher.cli.main", "run", "toy.yaml", "--run-dir", str(self.run),
                          "--cache", str(self.run / "cache"))

    def events(self, name: str) -> list[dict[str, Any]]:
        try:
            lines = (self.run / "journal.jsonl").read_text().split("\n")[:-1]
        except FileNotFoundError:
            return []
        return [event for event in map(json.loads, lines) if event["event"] == name]

    def steps_of(self, attempt: int, process: "subprocess.Popen[str]") -> None:
        """Wait until an attempt is at work."""
        def at_work() -> bool:
            assert process.poll() is None, self.end(process)[1][-4000:]
            return len([event for event in self.events("step") if event["attempt"] == attempt]) >= 3

        until(at_work)


def test_a_run_goes_from_job_to_job_however_it_is_submitted_and_stopped(cluster, tmp_path):
    me = Laptop(tmp_path, cluster)
    first = me.submit()
    me.steps_of(1, first)
    board = Dashboard(cluster.url)
    living = living_job_of(str(me.run), board.jobs())
    assert living is not None and (living.job, living.state) == ("toy.a001", "RUNNING")
    assert sight(RunDir(me.run)).live
    stop(str(me.run), within=None, now=False, wait=True, as_json=False)
    code, printed = me.end(first)
    assert code == 75, printed
    assert "toy.a001 is submitted" in printed
    assert re.search(rf"the run joins its cluster at \S+:{cluster.port}", printed)

    second = me.submit()
    me.steps_of(2, second)
    board.stop("toy.a002")
    code, printed = me.end(second)
    stopped = board.job("toy.a002")
    assert stopped is not None and (code, stopped.state) == (75, "STOPPED"), printed
    assert "was stopped" in printed and "before the run could say" not in printed

    code, printed = me.end(me.plain())
    assert code == 0 and "succeeded" in printed, printed[-4000:]
    code, printed = me.end(me.plain())
    assert code == 0 and "is finished already" in printed
    resumed = [event["resume"] for event in me.events("attempt_started")]
    assert len(resumed) == 3 and resumed[0] is None and 0 < resumed[1] < resumed[2]
    assert [event["exit_code"] for event in me.events("run_ended")] == [75, 75, 0]
    assert any((me.run / "model").glob("*.safetensors"))

    code, printed = me.end(me.submit())
    assert code == 0 and "is finished already" in printed
    kept = "".join(path.read_text(errors="replace") for folder in (me.run, cluster.folder) for path in folder.rglob("*")
                   if path.is_file() and not path.is_symlink())
    told = repr([vars(details) for details in board._client.list_jobs()])
    for name, value in SECRETS.items():
        assert value not in kept + told + "".join(me.printed), name
    assert "RAY_JOB_STOP_WAIT_TIME_S" in told
