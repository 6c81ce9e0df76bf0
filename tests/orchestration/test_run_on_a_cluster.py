"""A run on an existing cluster of two nodes: workers on both, and the cluster is left as it was."""

import os
import subprocess
import sys

import pytest

from launcher.core.recipe_running import ClusterWish
from launcher.orchestration.supervisor import Supervisor
from tests.orchestration.conftest import FAKES
from tests.orchestration.scenes import go_of, plan_of
from tests.orchestration.test_run_without_ray import Scene

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def address():
    # Its nodes' agents start the workers, in the environment that the cluster was started in.
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": FAKES}
    command = [sys.executable, "-m", "tests.orchestration.a_cluster"]
    other = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None and other.stdin is not None
    yield other.stdout.readline().strip()
    assert other.poll() is None, "somebody else's cluster ended"
    other.stdin.close()
    other.wait(60)


class ClusterScene(Scene):
    wish = ClusterWish(workers=4)

    def __init__(self, folder, address) -> None:
        super().__init__(folder)
        self.supervisor = Supervisor("cluster", address=address)

    def go(self, plan):
        return go_of(self.run.path, plan).model_copy(update={"placed": None, "wish": self.wish})


@pytest.fixture
def scene(tmp_path, address, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    return ClusterScene(tmp_path, address)


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
