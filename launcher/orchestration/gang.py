"""All workers of an attempt by rank, over the agents of all nodes.

Knows which rank lives in which slot of which node; decides nothing.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from launcher.core.attempt import AttemptPlan, RankPlace
from launcher.core.attempt_state import WorkerSeen
from launcher.core.errors import PlatformError
from launcher.core.events import WorkerPlace
from launcher.orchestration.node_agent import Agent, SlotReport
from launcher.storage.process_id import ProcessId


class AgentLost(PlatformError):
    """A node's agent does not answer: the process, its node or the network is gone."""


class Gang:
    """The workers of one attempt. One agent per node, in the order of the attempt's nodes."""

    def __init__(self, agents: Sequence[Agent], attempt: AttemptPlan) -> None:
        self._agents = list(agents)
        self._attempt = attempt
        self._ranks = {(place.node, place.local_rank): place.rank for place in attempt.ranks}
        self._processes: dict[int, ProcessId] = {}
        self.lost: set[int] = set()
        """Nodes whose agent is gone, by index."""

    @property
    def lost_nodes(self) -> tuple[str, ...]:
        """Return the names of nodes whose agent is gone."""
        return tuple(self._node_name(node) for node in sorted(self.lost))

    def look(self) -> tuple[WorkerSeen, ...]:
        """Return what is new of all workers; those of a lost node are neither ended nor heard."""
        return tuple(self._seen(place, reports.get(place.local_rank))
                     for node, reports in enumerate(self._polled()) for place in self._attempt.ranks
                     if place.node == node)

    def places(self) -> tuple[WorkerPlace, ...]:
        """Return where each worker is and what the operating system calls it."""
        nodes = {place.rank: self._node_name(place.node) for place in self._attempt.ranks}
        return tuple(WorkerPlace(rank=rank, node=nodes[rank], pid=process.pid, started=process.started)
                     for rank, process in sorted(self._processes.items()))

    def deliver(self, letter: str, contents: Mapping[int, dict[str, Any]]) -> None:
        """Put a letter into the mailboxes of some ranks."""
        for node, agent in enumerate(self._agents):
            mine = {place.local_rank: contents[place.rank] for place in self._attempt.ranks
                    if place.node == node and place.rank in contents}
            if mine and node not in self.lost:
                agent.deliver(letter, mine)

    def end(self, grace_s: float) -> bool:
        """End all workers on all nodes at the same time; return whether all are known to be gone."""
        living = [agent for node, agent in enumerate(self._agents) if node not in self.lost]
        with ThreadPoolExecutor(max(1, len(living))) as pool:
            return all(pool.map(lambda agent: agent.end(grace_s), living)) and not self.lost

    def _polled(self) -> list[dict[int, SlotReport]]:
        found: list[dict[int, SlotReport]] = []
        for node, agent in enumerate(self._agents):
            try:
                reports = [] if node in self.lost else agent.poll()
            except AgentLost:
                self.lost.add(node)
                reports = []
            found.append({report.slot: report for report in reports})
        return found

    def _seen(self, place: RankPlace, report: SlotReport | None) -> WorkerSeen:
        if report is None:
            return WorkerSeen(place.rank, self._node_name(place.node), None)
        self._processes[place.rank] = report.process
        return WorkerSeen(place.rank, self._node_name(place.node), report.exit_code, report.events)

    def _node_name(self, node: int) -> str:
        return self._attempt.cluster.nodes[node].name
