"""Stages that evaluations decide about, on clusters of Ray that belong to somebody: whoever dies there as a stage ends
or is done again, the run is the one that was not hurt, bit for bit."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from launcher.orchestration.supervisor import CONTROLLER_MODULE
from launcher.storage.process_id import ProcessId, command_line, descendants, process_id
from tests import decided
from tests.decided import ONE_ON_EACH, events, kill_once, repeated, run_unhurt, verdicts, worker_of
from tests.orchestration.test_run_on_a_cluster import Others
from tests.platforms.test_ray_jobs_real import Cluster, cluster  # noqa: F401  (a fixture)
from tests.test_peer_copies import somebodys_cluster
from tests.toy_run import differences

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(900)]
PATIENCE_S = 300.0


def controller_below(process: ProcessId) -> ProcessId | None:
    """Return the controller that is among what a process has started."""
    return next((each for each in descendants(process) if CONTROLLER_MODULE in command_line(each)), None)


@contextmanager
def typing(words: list[str], folder: Path, environment: dict[str, str], log: Path
           ) -> Iterator["subprocess.Popen[bytes]"]:
    """Type a command, and end it if the test does."""
    with log.open("wb") as output, subprocess.Popen(words, cwd=folder, env=environment, stdout=output, stderr=output,
                                                    start_new_session=True) as command:
        try:
            yield command
        finally:
            command.terminate()


def wait_for(condition: Callable[[], object], command: "subprocess.Popen[bytes]", log: Path) -> None:
    """Wait for a condition. Raises with what the command printed if that ends before."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert command.poll() is None, log.read_text(errors="replace")[-4000:]
        assert time.monotonic() < end, log.read_text(errors="replace")[-4000:]
        time.sleep(0.02)


def test_on_a_cluster_that_loses_the_controller_at_a_verdict_and_a_node_in_the_repeated_stage(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    whole, hurt, log = run_unhurt(tmp_path), tmp_path / "hurt", tmp_path / "log"
    with somebodys_cluster(tmp_path) as process:
        others = Others(process)
        others.say("add")
        typed = [sys.executable, "-m", "launcher.cli.main", "run", "toy.yaml", "--run-dir", "hurt", "--address",
                 others.address, "--set", ONE_ON_EACH]
        with typing(typed, tmp_path, decided.environment(tmp_path), log) as command:
            wait_for(lambda: verdicts(hurt), command, log)
            kill_once(lambda: controller_below(process_id(command.pid)))
            wait_for(lambda: repeated(hurt), command, log)
            others.say("lose oldest")
            assert command.wait(PATIENCE_S) == 0, log.read_text()[-4000:]
    assert verdicts(hurt) == decided.DECIDED
    assert "node_loss" in [event["kind"] for event in events(hurt, "failure")]
    assert differences(whole, hurt) == []


def test_as_a_job_of_ray_that_loses_the_controller_at_each_verdict_and_a_worker_in_the_repeated_stage(
        tmp_path: Path, cluster: Cluster) -> None:  # noqa: F811
    whole, hurt, log = run_unhurt(tmp_path), tmp_path / "hurt", tmp_path / "log"
    typed = [sys.executable, "-m", "ray.scripts.scripts", "job", "submit", "--address", cluster.url, "--working-dir",
             ".", "--", "python", "-m", "launcher.cli.main", "run", "toy.yaml", "--run-dir", str(hurt), "--cache",
             str(tmp_path / "cache"), "--set", "cluster.threads=1"]
    sent = tmp_path / "sent"
    sent.mkdir()
    for name in ("toy.yaml", "few.jsonl"):
        (sent / name).write_bytes((tmp_path / name).read_bytes())
    head = process_id(cluster.process.pid)
    with typing(typed, sent, {**cluster.environment, "HOME": str(tmp_path)}, log) as command:
        for number in range(1, 4):
            wait_for(lambda told=number: len(verdicts(hurt)) >= told, command, log)
            kill_once(lambda: controller_below(head))
        wait_for(lambda: repeated(hurt), command, log)
        kill_once(lambda: worker_of(hurt, 1))
        assert command.wait(PATIENCE_S) == 0, log.read_text()[-4000:]
    assert verdicts(hurt) == decided.DECIDED
    assert differences(whole, hurt) == []
