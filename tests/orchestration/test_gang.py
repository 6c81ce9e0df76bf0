"""All workers of an attempt over the agents of its nodes, some of which are gone."""

import threading

import pytest

from launcher.core.attempt import Cluster, RankPlace
from launcher.orchestration.gang import AgentLost, Gang
from launcher.orchestration.node_agent import SlotReport
from launcher.storage.process_id import process_id
from tests.orchestration.scenes import NODE, attempt_of, plan_of


class Living:
    def __init__(self) -> None:
        self.asked: list[str] = []

    def deliver(self, letter, contents) -> None:
        self.asked.append(letter)

    def poll(self) -> list[SlotReport]:
        return [SlotReport(slot=slot, process=process_id(), exit_code=None) for slot in range(2)]

    def end(self, grace_s) -> bool:
        return True


class Gone(Living):
    def deliver(self, letter, contents) -> None:
        super().deliver(letter, contents)
        raise AgentLost("no answer")

    def end(self, grace_s) -> bool:
        raise AgentLost("no answer")


class Silent(Living):
    """Does not answer until all of its rack are asked."""

    rack = threading.Barrier(2, timeout=10.0)

    def poll(self) -> list[SlotReport]:
        self.rack.wait()
        raise AgentLost("no answer")


def gang_of(agent) -> Gang:
    return Gang([agent], attempt_of(plan_of(("one", 3))))


@pytest.mark.parametrize("act", [lambda gang: gang.deliver("rendezvous", {1: {}}), lambda gang: gang.end(0.0)])
def test_an_agent_that_dies_while_it_is_told_something_is_a_lost_node(act):
    gang = gang_of(Gone())
    assert not gang.lost_nodes
    assert not act(gang)
    assert gang.lost_nodes == ("here",)
    assert {worker.exit_code for worker in gang.look()} == {None}


def test_a_lost_agent_is_asked_no_more():
    agent = Gone()
    gang = gang_of(agent)
    gang.deliver("orders", {0: {}})
    gang.deliver("stop", {0: {}})
    assert agent.asked == ["orders"]


def test_letters_go_to_the_ranks_they_are_for():
    agent = Living()
    gang = gang_of(agent)
    gang.deliver("rendezvous", {7: {}})
    gang.deliver("rendezvous", {1: {}})
    assert agent.asked == ["rendezvous"] and gang.end(0.0)


def test_nodes_that_are_lost_together_are_waited_for_together():
    attempt = attempt_of(plan_of(("one", 3)))
    nodes = tuple(NODE.model_copy(update={"name": name}) for name in ("a", "b"))
    places = tuple(RankPlace(rank=rank, node=rank, local_rank=0) for rank in range(2))
    gang = Gang([Silent(), Silent()], attempt.model_copy(update={"cluster": Cluster(nodes=nodes), "ranks": places}))
    gang.look()
    assert gang.lost_nodes == ("a", "b")
