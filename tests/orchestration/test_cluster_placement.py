"""Which nodes a placement takes when some or all of them go. What Ray tells is given; importing it takes a second."""

import time
from contextlib import ExitStack

import pytest

from launcher.core.attempt import Node
from launcher.core.recipe_running import ClusterWish
from launcher.core.spot_notice import Leaving, Told
from launcher.orchestration.placement import PlacementStopped, Wanted
from launcher.orchestration.requests import Requests
from tests.orchestration.scenes import go_of, plan_of

pytestmark = pytest.mark.slow

WISH = ClusterWish(nodes=2, min_nodes=1, gpus_per_node=1)


class Ray:
    """Two nodes with room, and what is known of them."""

    def __init__(self, monkeypatch) -> None:
        from launcher.orchestration import ray_cluster
        from launcher.orchestration.cluster_placement import ClusterPlacement

        self.drained: dict[str, float | None] = {}
        self.nodes = {name: Node(name=name, address="127.0.0.1", slots=1) for name in ("a", "b")}
        monkeypatch.setattr(ray_cluster, "live_nodes", self.staying)
        monkeypatch.setattr(ray_cluster, "draining", lambda: dict(self.drained))
        monkeypatch.setattr(ray_cluster, "silent", set)
        monkeypatch.setattr(ray_cluster, "free", lambda: {name: {"CPU": 1.0} for name in self.nodes})
        self.requests = Requests()
        self.placement = ClusterPlacement("10.0.0.1:6379", self.requests, ExitStack())

    def staying(self) -> dict[str, Node]:
        return {name: node for name, node in self.nodes.items() if name not in self.drained}

    def noticed(self, name: str, deadline: float) -> None:
        told = Told(looked=True, leaving=Leaving(what="terminate", deadline=deadline))
        self.placement._notices.hear(name, name, told)

    def chosen(self, tmp_path) -> list[str]:
        go = go_of(tmp_path, plan_of(("one", 3))).model_copy(update={"placed": None, "wish": WISH})
        return list(self.placement._choice(Wanted(go, 1, frozenset(), {})).nodes)


@pytest.fixture
def ray(monkeypatch):
    return Ray(monkeypatch)


def test_a_node_that_its_cloud_takes_away_is_not_taken(ray, tmp_path):
    assert ray.chosen(tmp_path) == ["a", "b"]
    ray.noticed("a", time.time() + 60)
    assert ray.chosen(tmp_path) == ["b"]
    assert [event.node for event in ray.placement.noticed()] == ["a"]


def test_when_the_last_nodes_go_one_after_the_other_the_run_is_asked_to_stop(ray, tmp_path):
    ray.noticed("a", time.time() + 60)
    ray.noticed("b", deadline := time.time() + 30)
    with pytest.raises(PlacementStopped):
        ray.chosen(tmp_path)
    assert (ray.requests.stop.reason, ray.requests.stop.deadline) == ("spot_notice", deadline)


def test_the_same_where_ray_drains_them(ray, tmp_path):
    ray.drained = {"a": None, "b": 4000000000.0}
    with pytest.raises(PlacementStopped):
        ray.chosen(tmp_path)
    assert (ray.requests.stop.reason, ray.requests.stop.deadline) == ("drain", 4000000000.0)


def test_the_earliest_deadline_holds_whoever_says_it(ray):
    ray.drained = {"a": 500.0, "b": None}
    ray.noticed("a", deadline := time.time() + 30)
    ray.noticed("b", deadline)
    assert ray.placement._leaving() == {"a": 500.0, "b": deadline}
