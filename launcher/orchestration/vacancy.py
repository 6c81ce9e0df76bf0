"""Which nodes of a cluster an attempt takes: as many as it wants, of those that have room for its share; and which it
keeps ready beside.

Pure: what nodes there are and what is free on them is told. Decides nothing about nodes that have failed, which are not
among them, and waits for none: `cluster_placement` does.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from launcher.core.attempt import AttemptPlan, Node
from launcher.core.errors import UserError

Plan = Callable[[Mapping[str, Node]], AttemptPlan]
"""Plans the attempt on some nodes. Raises Unplannable."""
Amounts = Mapping[str, float]
"""Of CPU and GPU."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The nodes of an attempt by Ray's ids, in the order of its ranks, and the attempt on them."""

    nodes: Mapping[str, Node]
    placed: AttemptPlan

    def slots(self) -> list[int]:
        """Return the number of workers on each node."""
        return [sum(place.node == node for place in self.placed.ranks) for node in range(len(self.nodes))]

    def shares(self) -> dict[str, dict[str, float]]:
        """Return what each node's agent and workers take, so that Ray places nothing else onto it."""
        return {key: share(node, slots, self.placed)
                for (key, node), slots in zip(self.nodes.items(), self.slots(), strict=True)}


def choose(nodes: Mapping[str, Node], most: int | None, plan: Plan) -> Choice:
    """Return the choice of the first nodes. Raises Unplannable if they are not enough."""
    chosen = dict(list(nodes.items())[:most])
    return Choice(chosen, plan(chosen))


def with_room(nodes: Mapping[str, Node], most: int | None, plan: Plan, free: Mapping[str, Amounts],
              held: Collection[str]) -> Choice | None:
    """Return the choice of those that have room, or None if they are not enough. What is `held` by this run has."""
    left = dict(nodes)
    try:
        while True:
            choice = choose(left, most, plan)
            taken = [key for key, wanted in choice.shares().items()
                     if key not in held and not _fits(wanted, free.get(key, {}))]
            if not taken:
                return choice
            left = {key: node for key, node in left.items() if key not in taken}
    except UserError:
        return None


def spares(nodes: Mapping[str, Node], used: Collection[str], count: int, placed: AttemptPlan,
           free: Mapping[str, Amounts], held: Collection[str]) -> dict[str, Amounts]:
    """Return so many nodes that an attempt does not use and that have room, with what its workers would take there."""
    slots = most_slots(placed)
    wanted = {key: share(node, slots, placed) for key, node in nodes.items() if key not in used}
    fitting = {key: amounts for key, amounts in wanted.items() if key in held or _fits(amounts, free.get(key, {}))}
    return dict(list(fitting.items())[:count])


def most_slots(placed: AttemptPlan) -> int:
    """Return how many workers an attempt has on its fullest node."""
    return max(Counter(place.node for place in placed.ranks).values())


def share(node: Node, slots: int, placed: AttemptPlan) -> dict[str, float]:
    """Return what some workers of an attempt and their agent take of a node."""
    gpus = {"GPU": float(slots)} if placed.device == "cuda" else {}
    return {"CPU": float(max(1, min(node.cores, slots * placed.threads)))} | gpus


def _fits(wanted: Amounts, free: Amounts) -> bool:
    return all(free.get(name, 0.0) >= amount for name, amount in wanted.items())
