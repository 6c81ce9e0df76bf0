"""Whom a fault finds, and that nobody else is hurt: processes that carry the names of a run's."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from launcher.core.events import AttemptStarted, WorkerPlace
from launcher.orchestration.faults import FAULTS, LivingRun, fault
from launcher.orchestration.supervisor import CONTROLLER_MODULE
from launcher.storage.journal import Journal
from launcher.storage.process_id import ProcessId, children, process_id
from launcher.storage.run_dir import RunDir
from tests.orchestration.test_worker_process import awaited

NAMES = ("ray::RayNodeAgent", "/somewhere/raylet", "/somewhere/gcs_server", "worker-0", "worker-1", "bystander")
CONTROLLER = "import time; time.sleep(60)"


class Scene:
    """A run of sleeping processes."""

    def __init__(self, folder: Path) -> None:
        self.parts = {name: subprocess.Popen([name, "60"], executable="/bin/sleep") for name in NAMES}
        self.scratch = folder / "scratch"
        self.scratch.mkdir()
        ids = {name: process_id(part.pid) for name, part in self.parts.items()}
        recorded = [ids[name].model_dump() for name in (NAMES[2], NAMES[1], NAMES[0])]
        (self.scratch / "ray.json").write_text(json.dumps(recorded))
        run = RunDir(folder / "run")
        places = tuple(WorkerPlace(rank=rank, node="here", pid=ids[f"worker-{rank}"].pid,
                                   started=ids[f"worker-{rank}"].started) for rank in range(2))
        journal = Journal(run, 1)
        journal.append(AttemptStarted(workers=places, world_size=2, resume=None))
        journal.close()
        inner = ["-c", CONTROLLER, CONTROLLER_MODULE, str(self.scratch)]
        outer = f"import subprocess, sys; subprocess.run([sys.executable, *{inner!r}])"
        self.command = subprocess.Popen([sys.executable, "-c", outer])
        self.living = LivingRun(run, process_id(self.command.pid))
        awaited(lambda: self.living.controller() is not None)

    def hurt(self, name: str) -> set[str]:
        """Hurt the run in a way; return who is gone or stopped since."""
        before = self.unwell()
        assert fault(name).strike(self.living, Random(3))
        awaited(lambda: self.unwell() != before)
        return self.unwell() - before

    def unwell(self) -> set[str]:
        everyone = {**self.parts, "command": self.command}
        return {who for who, part in everyone.items() if process_id(part.pid).state() in ("T", "Z")}

    def end(self) -> None:
        for child in children(self.command.pid):
            child.kill()
        for part in (*self.parts.values(), self.command):
            part.kill()
            part.wait()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.end()


def test_each_role_is_found_by_what_the_run_wrote_down(scene: Scene) -> None:
    assert scene.living.scratch() == scene.scratch
    assert scene.hurt("Ray's raylet killed") == {"/somewhere/raylet"}
    assert scene.hurt("Ray's GCS killed") == {"/somewhere/gcs_server"}
    assert scene.hurt("the node's agent killed") == {"ray::RayNodeAgent"}
    assert scene.parts["bystander"].poll() is None and scene.command.poll() is None


def test_one_rank_two_ranks_and_the_controller_are_hit_and_nobody_else(scene: Scene) -> None:
    assert scene.hurt("a rank stopped by SIGSTOP") in ({"worker-0"}, {"worker-1"})
    scene.hurt("two ranks killed at once")
    for rank in range(2):
        assert scene.parts[f"worker-{rank}"].wait(10) == -signal.SIGKILL
    controller = scene.living.controller()
    assert controller is not None and fault("the controller killed").strike(scene.living, Random(0))
    awaited(lambda: not controller.alive())
    assert scene.parts["bystander"].poll() is None and scene.parts["/somewhere/raylet"].poll() is None


def test_a_pid_that_is_somebody_else_s_now_is_left_alone_and_told(scene: Scene, tmp_path: Path) -> None:
    other = process_id(scene.parts["bystander"].pid)
    earlier = ProcessId(pid=other.pid, started=other.started - 1000.0)
    (scene.scratch / "ray.json").write_text(json.dumps([earlier.model_dump()]))
    for name in ("Ray's raylet killed", "the node's agent killed"):
        assert not fault(name).strike(scene.living, Random(0))
    assert scene.parts["bystander"].poll() is None


def test_everybody_of_the_run_belongs_to_its_family(scene: Scene) -> None:
    family = {process.pid for process in scene.living.family()}
    assert {part.pid for name, part in scene.parts.items() if name != "bystander"} < family
    assert scene.parts["bystander"].pid not in family and len(FAULTS) == 12
