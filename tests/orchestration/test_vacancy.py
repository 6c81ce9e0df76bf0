"""Which nodes an attempt takes when others hold some of them."""

import pytest

from launcher.core.attempt import Cluster, Node
from launcher.core.attempt_planning import plan_attempt
from launcher.core.errors import Unplannable
from launcher.core.recipe_running import ClusterWish
from launcher.orchestration.vacancy import choose, spares, with_room
from tests.orchestration.scenes import plan_of

NODES = {key: Node(name=key, address=key, slots=2, cores=4) for key in "abc"}
ALL, NONE = {"CPU": 4.0}, {"CPU": 0.0}


def planner(**wish):
    return lambda nodes: plan_attempt(plan_of(("one", 9)), ClusterWish(gpus_per_node=1, **wish),
                                      Cluster(nodes=tuple(nodes.values())), attempt=1, micro_batch=1, device="cpu",
                                      resume=None)


def room(most, free, held=(), **wish):
    choice = with_room(NODES, most, planner(nodes=most, **wish), dict(zip("abc", free, strict=True)), held)
    return None if choice is None else list(choice.nodes)


def test_a_node_that_somebody_else_holds_is_passed_over():
    assert room(2, (ALL, NONE, ALL)) == ["a", "c"]
    assert room(3, (NONE, ALL, {"CPU": 3.0}), min_nodes=1) == ["b"]


def test_what_this_run_holds_itself_has_room_for_it():
    assert room(2, (NONE, NONE, ALL), held={"a", "b"}) == ["a", "b"]


def test_fewer_free_nodes_than_a_run_can_begin_with_are_no_choice():
    assert room(3, (ALL, NONE, ALL)) is None
    assert room(3, (NONE, NONE, NONE), min_nodes=1) is None


def test_a_choice_tells_what_it_takes_of_each_node_and_too_few_nodes_are_refused():
    choice = choose(NODES, 2, planner(nodes=2))
    assert choice.slots() == [1, 1] and choice.shares() == {"a": {"CPU": 4.0}, "b": {"CPU": 4.0}}
    with pytest.raises(Unplannable, match="4 nodes are needed and 3 present"):
        choose(NODES, None, planner(nodes=4))


def spared(count, free, held=()):
    placed = choose(NODES, 1, planner(nodes=1)).placed
    return spares(NODES, {"a"}, count, placed, dict(zip("abc", free, strict=True)), held)


def test_spares_are_nodes_with_room_that_the_attempt_does_not_use():
    assert spared(1, (NONE, ALL, ALL)) == {"b": ALL}
    assert spared(1, (ALL, NONE, ALL)) == {"c": ALL}
    assert spared(5, (NONE, ALL, ALL)) == {"b": ALL, "c": ALL}
    assert spared(0, (NONE, ALL, ALL)) == {}


def test_a_spare_that_is_held_stays_one():
    assert spared(1, (NONE, NONE, ALL), held={"b"}) == {"b": ALL}
