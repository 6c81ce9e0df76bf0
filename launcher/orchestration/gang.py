"""All workers of an attempt by rank, over the agents of all nodes.

Knows which rank lives in which slot of which node; decides nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from launcher.core.attempt import AttemptPlan, RankPlace
from launcher.core.attempt_state import WorkerSeen
from launcher.core.errors import PlatformError
from launcher.core.events import WorkerPlace
from launcher.orchestration.node_agent import Agent, SlotReport
from launcher.storage.process_id import ProcessId
from launcher.storage.run_dir import RunDir, rank_files

Answer = TypeVar("Answer")


class AgentLost(PlatformError):
    """A node's agent does not answer: the process, its node or the network is gone."""


class Gang:
    """The workers of one attempt. One agent per node, in the order of the attempt's nodes."""

    def __init__(self, agents: Sequence[Agent], attempt: AttemptPlan) -> None:
        self._agents = list(agents)
        self._attempt = attempt
        self._ranks = {(place.node, place.local_rank): place.rank for place in attempt.ranks}
        self._processes: dict[int, ProcessId] = {}
        self._pool = ThreadPoolExecutor(max(1, len(self._agents)), "agents")
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
        for node in range(len(self._agents)):
            mine = {place.local_rank: contents[place.rank] for place in self._attempt.ranks
                    if place.node == node and place.rank in contents}
            if mine:
                self._ask(node, partial(_deliver, letter, mine), None)

    def bring_logs(self, run: RunDir) -> None:
        """Let every agent bring the logs of its ranks along to a run that is in an object store."""
        if not run.remote:
            return
        for node in range(len(self._agents)):
            keys = [run.attempt_key(self._attempt.attempt, name) for place in self._attempt.ranks if place.node == node
                    for name in rank_files(place.rank)]
            self._ask(node, partial(_bring, run.url, keys), None)

    def warm(self) -> None:
        """Make workers for the next attempt ready on all nodes."""
        self._ask_all(lambda agent: agent.warm(), None)

    def dump_stacks(self) -> None:
        """Let every worker that can write down where its threads are."""
        self._ask_all(lambda agent: agent.dump_stacks(), None)

    def end(self, grace_s: float) -> bool:
        """End all workers on all nodes at the same time; return whether all are known to be gone."""
        return all(self._ask_all(lambda agent: agent.end(grace_s), False))

    def _polled(self) -> list[dict[int, SlotReport]]:
        nothing: list[SlotReport] = []
        return [{report.slot: report for report in reports}
                for reports in self._ask_all(lambda agent: agent.poll(), nothing)]

    def _ask_all(self, question: Callable[[Agent], Answer], otherwise: Answer) -> list[Answer]:
        """Ask all agents at the same time: one that does not answer takes half a minute, and a rack takes no longer."""
        return list(self._pool.map(lambda node: self._ask(node, question, otherwise), range(len(self._agents))))

    def _ask(self, node: int, question: Callable[[Agent], Answer], otherwise: Answer) -> Answer:
        """Ask a node's agent. One that does not answer is lost, which the next look tells, and asked no more."""
        try:
            return otherwise if node in self.lost else question(self._agents[node])
        except AgentLost:
            self.lost.add(node)
            return otherwise

    def _seen(self, place: RankPlace, report: SlotReport | None) -> WorkerSeen:
        if report is None:
            return WorkerSeen(place.rank, self._node_name(place.node), None)
        self._processes[place.rank] = report.process
        return WorkerSeen(place.rank, self._node_name(place.node), report.exit_code, report.events, report.pulse)

    def _node_name(self, node: int) -> str:
        return self._attempt.cluster.nodes[node].name


def _bring(run_dir: str, keys: Sequence[str], agent: Agent) -> None:
    agent.bring(run_dir, keys)


def _deliver(letter: str, contents: Mapping[int, dict[str, Any]], agent: Agent) -> None:
    agent.deliver(letter, contents)
