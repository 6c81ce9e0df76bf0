"""Whole attempts under a private Ray of their own, with fake workers; nothing of Ray may be left."""

import json
import os
import signal
from pathlib import Path

import pytest

from launcher.storage.process_id import ProcessId
from tests.orchestration.scenes import plan_of
from tests.orchestration.test_run_without_ray import PATIENCE_S, STOP, Scene
from tests.orchestration.test_worker_process import awaited

pytestmark = pytest.mark.slow


class RayScene(Scene):
    mode = "embedded"

    def daemons(self) -> list[ProcessId]:
        entries = json.loads((self.supervisor.scratch / "ray.json").read_text())
        return [ProcessId.model_validate(entry) for entry in entries]


@pytest.fixture
def scene(tmp_path):
    return RayScene(tmp_path)


def ray_processes_of(folder: Path) -> list[str]:
    """Return the command lines that name a folder: every process of a private Ray does."""
    lines = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if str(folder) in line and "pytest" not in line:
                lines.append(line)
    return lines


def test_a_run_under_ray_goes_to_its_end_and_leaves_nothing(scene):
    seen = {}

    def look(scene: RayScene) -> None:
        scene.wait_step(1)
        seen["daemons"] = scene.daemons()
        seen["folder"] = scene.supervisor.scratch

    assert scene.play(plan_of(("one", 30)), look) == 0
    assert {"ray", "agents"} <= set(scene.events("startup_phases")[0]["phases"])
    assert len(seen["daemons"]) >= 3
    awaited(lambda: not any(process.alive() for process in seen["daemons"]))
    assert not ray_processes_of(seen["folder"])


def test_workers_are_the_agent_s_and_a_stop_reaches_them(scene):
    def stop(scene: RayScene) -> None:
        scene.wait_step(2)
        scene.supervisor.stop(STOP)

    assert scene.play(plan_of(("one", 100000)), stop) == 75


def test_a_foreign_address_in_the_environment_is_not_followed(scene, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "192.0.2.1:6379")
    assert scene.play(plan_of(("one", 2))) == 0


def test_a_killed_agent_is_replaced_and_the_run_goes_on(scene):
    seen = {}

    def kill(scene: RayScene) -> None:
        scene.wait_step(2)
        seen["agent"] = scene.daemons()[-1]
        os.kill(seen["agent"].pid, signal.SIGKILL)
        awaited(lambda: len(scene.events("attempt_started")) == 2, PATIENCE_S)
        assert scene.daemons()[-1] != seen["agent"]
        scene.supervisor.stop(STOP)

    assert scene.play(plan_of(("one", 100000)), kill) == 75
    assert [event["kind"] for event in scene.events("failure")] == ["node_loss"]


def test_a_killed_controller_leaves_neither_workers_nor_ray(scene):
    seen = {}

    def kill(scene: RayScene) -> None:
        scene.wait_step(2)
        seen["daemons"], seen["folder"] = scene.daemons(), scene.supervisor.scratch
        os.kill(scene.supervisor.process.pid, signal.SIGKILL)

    assert scene.play(plan_of(("one", 100000)), kill) == -signal.SIGKILL
    assert not any(process.alive() for process in seen["daemons"])
    awaited(lambda: not ray_processes_of(seen["folder"]))


def test_a_killed_gcs_ends_the_run_and_leaves_neither_workers_nor_ray(scene):
    seen = {}

    def kill(scene: RayScene) -> None:
        scene.wait_step(2)
        seen["daemons"], seen["folder"] = scene.daemons(), scene.supervisor.scratch
        commands = {daemon.pid: Path(f"/proc/{daemon.pid}/cmdline").read_bytes() for daemon in seen["daemons"]}
        os.kill(next(pid for pid, command in commands.items() if b"gcs_server" in command), signal.SIGKILL)

    assert scene.play(plan_of(("one", 100000)), kill) != 0
    assert not any(process.alive() for process in seen["daemons"])
    assert not ray_processes_of(seen["folder"])
