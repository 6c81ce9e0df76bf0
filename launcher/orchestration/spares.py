"""Spare nodes: machines that an attempt does not use, with workers made ready for when one of its own is lost.

Which nodes are spares is `vacancy`'s; whether an attempt begins on one is `cluster_placement`'s, which takes its agent
then.
"""

from collections.abc import Callable, Iterator, Mapping

from launcher.core.attempt import AttemptPlan
from launcher.orchestration.ray_agent import RemoteAgent
from launcher.orchestration.vacancy import Amounts, most_slots

Held = tuple[RemoteAgent, Amounts]
"""A node's agent, and what it takes of the node."""


class Spares:
    """Agents on spare nodes, by Ray's ids."""

    def __init__(self, make: Callable[[str, Amounts], RemoteAgent]) -> None:
        self._make = make
        self._held: dict[str, Held] = {}

    def __iter__(self) -> Iterator[str]:
        """Go through the nodes that are held."""
        return iter(self._held)

    def hold(self, wanted: Mapping[str, Amounts], placed: AttemptPlan) -> None:
        """Have workers of such an attempt ready on these nodes, and on no others. Waits for none of them."""
        for key in set(self._held) - {key for key, amounts in wanted.items() if self._takes(key) == amounts}:
            self._held.pop(key)[0].close()
        for key, amounts in wanted.items():
            if key not in self._held:
                agent = self._make(key, amounts)
                agent.stand_by(most_slots(placed), placed.threads, placed.device)
                self._held[key] = agent, amounts

    def agents(self) -> dict[str, RemoteAgent]:
        """Return the agents, for who wants to ask them something."""
        return {key: agent for key, (agent, _) in self._held.items()}

    def give(self, key: str) -> Held | None:
        """Hand a node's agent over, if there is one."""
        return self._held.pop(key, None)

    def close(self) -> None:
        """Give all nodes back."""
        while self._held:
            self._held.popitem()[1][0].close()

    def _takes(self, key: str) -> Amounts | None:
        return self._held[key][1] if key in self._held else None
