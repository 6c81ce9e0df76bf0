"""A run on an existing cluster of two nodes: workers on both, and the cluster is left as it was."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from launcher.core.recipe_running import ClusterWish
from launcher.orchestration.supervisor import Supervisor
from launcher.storage.journal import read_journal
from launcher.storage.process_id import ProcessId, descendants, process_id
from tests.orchestration.conftest import FAKES
from tests.orchestration.scenes import go_of, plan_of
from tests.orchestration.test_run_without_ray import PATIENCE_S, STOP, Scene
from tests.orchestration.test_worker_process import awaited

pytestmark = pytest.mark.slow


class Others:
    """Somebody else's cluster."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.address = self.hear()

    def hear(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def say(self, what: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        assert self.hear() == "done"


@pytest.fixture(scope="module")
def others():
    # Its nodes' agents start the workers, in the environment that the cluster was started in.
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": FAKES}
    command = [sys.executable, "-m", "tests.orchestration.a_cluster"]
    other = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdin is not None
    yield Others(other)
    assert other.poll() is None, "somebody else's cluster ended"
    other.stdin.close()
    other.wait(60)


class ClusterScene(Scene):
    wish = ClusterWish(workers=4)
    nodes_may_come = False

    def __init__(self, folder, address) -> None:
        super().__init__(folder)
        self.supervisor = Supervisor("cluster", address=address)

    def go(self, plan):
        asked = {"placed": None, "wish": self.wish, "nodes_may_come": self.nodes_may_come}
        return go_of(self.run.path, plan).model_copy(update=asked)


@pytest.fixture
def scene(tmp_path, others, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    return ClusterScene(tmp_path, others.address)


def test_workers_live_on_both_nodes_and_all_are_gone_afterwards(scene):
    assert scene.play(plan_of(("one", 3))) == 0
    workers = scene.events("attempt_started")[0]["workers"]
    assert [worker["rank"] for worker in workers] == [0, 1, 2, 3]
    assert len({worker["pid"] for worker in workers}) == 4


def test_more_nodes_than_there_are_are_refused_with_numbers(scene):
    scene.wish = ClusterWish(nodes=3, gpus_per_node=8)
    assert scene.play(plan_of(("one", 3))) == 2
    assert "3 nodes are needed and 2 present" in scene.events("failure")[0]["message"]
    assert scene.ended() == ("refused", 2)


def test_nodes_that_are_still_to_come_are_waited_for_where_they_may(scene, others):
    scene.wish, scene.nodes_may_come = ClusterWish(nodes=3, gpus_per_node=1), True

    def come(scene: ClusterScene) -> None:
        awaited(lambda: scene.events("decision"), PATIENCE_S)
        others.say("add")
        scene.wait_step(2)
        scene.supervisor.stop(STOP)

    try:
        assert scene.play(plan_of(("one", 100000)), come) == 75
    finally:
        others.say("kill")
        others.say("settle")
    assert world_sizes(scene) == [3]
    assert "3 nodes are needed and 2 present" in scene.events("failure")[0]["message"]
    assert {event["decision"] for event in scene.events("decision")} == {"restart"}


def test_a_run_that_waits_for_nodes_which_somebody_holds_hears_a_stop(scene, others):
    others.say("hold")

    def stop(scene: ClusterScene) -> None:
        awaited(lambda: scene.events("run_started"), PATIENCE_S)
        scene.supervisor.stop(STOP)
        begin = time.monotonic()
        awaited(lambda: scene.events("run_ended"), PATIENCE_S)
        assert time.monotonic() - begin < 10.0, "it would wait for two minutes"

    try:
        assert scene.play(plan_of(("one", 3)), stop) == 75
    finally:
        others.say("free")
    assert [event["event"] for event in read_journal(scene.run)] == ["run_started", "stop_requested", "run_ended"]


def world_sizes(scene) -> list[int]:
    return [event["world_size"] for event in scene.events("attempt_started")]


def test_a_run_grows_with_its_cluster_and_makes_way_for_a_node_that_goes(scene, others):
    scene.wish = ClusterWish(nodes=3, gpus_per_node=1, min_nodes=1)

    def change(scene: ClusterScene) -> None:
        scene.wait_step(2)
        others.say("add")
        awaited(lambda: world_sizes(scene) == [2, 3], PATIENCE_S)
        others.say("drain")
        awaited(lambda: world_sizes(scene) == [2, 3, 2], PATIENCE_S)
        scene.supervisor.stop(STOP)

    assert scene.play(plan_of(("one", 100000)), change) == 75
    assert not scene.events("failure")
    assert [event["decision"] for event in scene.events("decision")] == ["grow", "leave nodes"]
    assert {worker["node"] for worker in scene.events("attempt_started")[2]["workers"]} == {"head", "node-1"}


def standbys(others: Others) -> int:
    """Return how many workers stand ready on the cluster's nodes."""
    found = descendants(process_id(others.process.pid))
    commands = (Path(f"/proc/{process.pid}/cmdline") for process in found)
    return sum(b"--patient" in command.read_bytes() for command in commands if command.exists())


def test_a_spare_node_whose_workers_were_ready_takes_the_place_of_a_lost_one(scene, others):
    scene.wish = ClusterWish(nodes=2, gpus_per_node=1, spares=1)
    others.say("add")

    def lose(scene: ClusterScene) -> None:
        scene.wait_step(2)
        awaited(lambda: standbys(others) == 3, PATIENCE_S)
        others.say("kill oldest")
        awaited(lambda: len(world_sizes(scene)) == 2, PATIENCE_S)
        scene.wait_step(5)
        scene.supervisor.stop(STOP)

    assert scene.play(plan_of(("one", 100000)), lose) == 75
    before, after = ({worker["node"]: worker for worker in event["workers"]}
                     for event in scene.events("attempt_started"))
    (new,) = after.keys() - before.keys()
    lost = scene.events("failure")[0]
    began = ProcessId(pid=after[new]["pid"], started=after[new]["started"]).began()
    assert lost["kind"] == "node_loss" and began < lost["time"], "its worker was there before it was needed"


def test_a_run_shrinks_when_a_node_is_lost(scene, others):
    scene.wish = ClusterWish(nodes=2, gpus_per_node=1, min_nodes=1)

    def lose(scene: ClusterScene) -> None:
        scene.wait_step(2)
        used = [worker["node"] for worker in scene.events("attempt_started")[0]["workers"]]
        assert len(set(used)) == 2
        others.say("add")
        others.say("kill")  # the one that is not used
        others.say("kill")
        awaited(lambda: len(world_sizes(scene)) >= 2, PATIENCE_S)
        scene.supervisor.stop(STOP)

    assert scene.play(plan_of(("one", 100000)), lose) == 75
    assert world_sizes(scene)[-1] == 1
    assert scene.events("failure")[0]["kind"] == "node_loss"
