"""Bringing attempts onto the nodes of a Ray cluster that is there, whose nodes may come and go.

Importing it imports Ray. An agent is an actor bound to its node by the node's id, and takes what its workers take; it
is kept from attempt to attempt with the workers that it has made ready, as long as it answers. Which nodes an attempt
takes is `vacancy`. What takes minutes, waiting for nodes that others hold, ends with a stop.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import TypeVar

from launcher.core.attempt import AttemptPlan, Cluster, Node
from launcher.core.attempt_planning import plan_attempt
from launcher.core.errors import PlatformError, Unplannable
from launcher.core.events import SpotNoticed, StopRequested
from launcher.core.peer_copies import Holding, Mark
from launcher.orchestration import ray_cluster
from launcher.orchestration.gang import AgentLost
from launcher.orchestration.node_agent import Agent
from launcher.orchestration.placement import PlacementLost, Surroundings, Wanted, bring_up, heed
from launcher.orchestration.ray_agent import RemoteAgent, ask_all
from launcher.orchestration.ray_holders import Holders
from launcher.orchestration.requests import Requests
from launcher.orchestration.spares import Spares
from launcher.orchestration.spot_notices import SpotNotices
from launcher.orchestration.startup import Stopwatch
from launcher.orchestration.vacancy import Choice, choose, spares, with_room
from launcher.storage.orphan_grace import ORPHAN_GRACE_S
from launcher.storage.process_id import ProcessId

VACATE_S, VACATE_POLL_S = ORPHAN_GRACE_S + 5.0, 0.5
"""For nodes that somebody holds, before an attempt begins with fewer: orphans may save there."""
SILENT_S = 90.0
"""Ray gives a silent node up within a minute. One that is there after that was heard again."""
Answer = TypeVar("Answer")


class ClusterPlacement:
    """An existing cluster, whose nodes may come and go."""

    def __init__(self, address: str, requests: Requests, cleanup: ExitStack) -> None:
        self._address, self._requests, self._cleanup = address, requests, cleanup
        self._agents: dict[str, tuple[RemoteAgent, Mapping[str, float]]] = {}
        """By node id, with what each takes of the node."""
        self._spares, self._holders = Spares(self._agent_on), Holders()
        self._notices = SpotNotices()
        self._silent: dict[str, float] = {}
        """By node id, until when those are left out that could not be reached."""
        self._wanted: Wanted | None = None
        self._placed: AttemptPlan | None = None
        self._ids: list[str] = []

    def place(self, wanted: Wanted, stopwatch: Stopwatch) -> tuple[Sequence[Agent], AttemptPlan]:
        """Start an attempt's workers on the nodes that are there now."""
        if self._wanted is None:
            with stopwatch.phase("ray"):
                self._cleanup.callback(ray_cluster.disconnect)
                bring_up(self._requests, partial(ray_cluster.connect, self._address))
            self._cleanup.callback(self._close)
        self._wanted = wanted
        with stopwatch.phase("placement"):
            choice = self._choice(wanted)
            self._ids = list(choice.nodes)
            self._take(choice)
        placed, nodes = choice.placed, list(choice.nodes.values())
        with stopwatch.phase("agents"):
            agents = [self._agents[node][0] for node in self._ids]
            with ThreadPoolExecutor(len(agents)) as pool:
                old = [wanted.old.get(node.name, ()) for node in nodes]
                list(pool.map(partial(_start_on, placed), nodes, agents, choice.slots(), old))
        self._placed = placed
        return agents, placed

    def look(self, without: frozenset[str]) -> Surroundings:
        """Return which nodes will be taken away, and whether there is room for more workers; keep spares ready."""
        if self._wanted is None or self._placed is None:
            return Surroundings()
        there = self._good()
        nodes = {key: node for key, node in there.items() if node.name not in without}
        could = self._with_room(self._wanted, nodes)
        if count := self._wanted.go.wish.spares:
            used = {*self._ids, *(could.nodes if could else ())}
            wanted = spares(nodes, used, count, self._placed, _answer(ray_cluster.free), {*self._spares})
            self._spares.hold(wanted, self._placed)
        if self._wanted.go.checkpoint.peer_copies and "://" in self._wanted.go.run_dir:
            self._holders.hold(self._wanted.go.run_dir, self._ids)
        leaving = self._leaving()
        mine = dict(zip(self._ids, self._placed.cluster.nodes, strict=True))
        return Surroundings(could is not None and could.placed.world_size > self._placed.world_size,
                            tuple((node.name, leaving[key]) for key, node in mine.items() if key in leaving),
                            frozenset(node.name for key, node in mine.items() if key in self._notices.leaving()),
                            nothing_left=not there)

    def noticed(self) -> Sequence[SpotNoticed]:
        """Return what clouds said of the nodes since this was asked before."""
        return self._notices.unsaid()

    def saved(self, mark: Mark) -> None:
        """Have each node keep what the node before it wrote of this checkpoint."""
        self._holders.saved(mark)

    def holdings(self, step: int) -> Sequence[Holding]:
        """Return which nodes keep what of a step's checkpoint for others."""
        return self._holders.holdings(step)

    def _choice(self, wanted: Wanted) -> Choice:
        """Return the nodes to use: such as can be reached and have not failed, while those are enough. Raises
        Unplannable.

        What others hold may be free in a moment: a controller that was lost leaves agents that let their workers save.
        """
        self._silent |= dict.fromkeys(_answer(ray_cluster.silent), time.monotonic() + SILENT_S)
        there, plan = self._good(), partial(_plan, wanted)
        nodes = {key: node for key, node in there.items() if node.name not in wanted.without}
        if not there:
            self._yield_if_all_go()
        try:
            whole = choose(nodes, wanted.go.wish.nodes, plan)
        except Unplannable:
            # Better nodes that have failed before than none.
            nodes = there
            whole = choose(nodes, wanted.go.wish.nodes, plan)
        until = time.monotonic() + VACATE_S
        while (found := self._with_room(wanted, nodes)) is None or found.placed.world_size < whole.placed.world_size:
            heed(self._requests)
            if time.monotonic() > until:
                return found or whole
            time.sleep(VACATE_POLL_S)
        return found

    def _with_room(self, wanted: Wanted, nodes: Mapping[str, Node]) -> Choice | None:
        held = {*self._agents, *self._spares}
        return with_room(nodes, wanted.go.wish.nodes, partial(_plan, wanted), _answer(ray_cluster.free), held)

    def _good(self) -> dict[str, Node]:
        """Return the nodes that are there and stay, those in use first, so that ranks stay where they are.

        Such as could not be reached are left out: one without power is there until Ray has noticed.
        """
        now, there = time.monotonic(), _answer(ray_cluster.live_nodes)
        agents = self._spares.agents() | {key: agent for key, (agent, _) in self._agents.items()}
        ask_all(agents.values())
        for key, agent in agents.items():
            if key in there:
                self._notices.hear(key, there[key].name, agent.told())
        going = self._notices.leaving()
        there = {key: node for key, node in there.items() if key not in going and self._silent.get(key, now) <= now}
        return {key: there[key] for key in self._ids if key in there} | there

    def _leaving(self) -> dict[str, float | None]:
        """Return the nodes that will be taken away, whoever says so, with the earliest deadline."""
        drained, noticed = _answer(ray_cluster.draining), self._notices.leaving()
        both = {key: min(known, noticed[key]) for key in noticed if (known := drained.get(key)) is not None}
        return drained | noticed | both

    def _yield_if_all_go(self) -> None:
        """Ask for a stop if nodes are there and all of them will be taken away: waiting would bring none. Raises
        PlacementStopped then."""
        if leaving := self._leaving():
            deadlines = [when for when in leaving.values() if when is not None]
            reason = "spot_notice" if self._notices.leaving() else "drain"
            self._requests.notice(StopRequested(reason=reason, deadline=min(deadlines, default=None)))
            heed(self._requests)

    def _take(self, choice: Choice) -> None:
        """Have an agent on each node that holds its share. Raises PlatformError with what is missing and where."""
        for key in set(self._agents) - set(choice.nodes):
            self._agents.pop(key)[0].close()
        shares, made, begin = choice.shares(), list[str](), time.monotonic()
        for key, share in shares.items():
            held = self._agents.get(key) or self._spares.give(key)
            if held is None or held[1] != share or not held[0].answers():
                if held is not None:
                    held[0].close()
                self._agents[key] = self._agent_on(key, share), share
                made.append(key)
            else:
                self._agents[key] = held
        for key in made:
            try:
                self._agents[key][0].ready(ray_cluster.PLACEMENT_TIMEOUT_S)
            except AgentLost:
                for each in made:
                    self._agents.pop(each)[0].close()
                reason = ray_cluster.diagnosis(list(shares.values()), time.monotonic() - begin)
                raise PlatformError(reason, choice.nodes[key].name) from None

    def _agent_on(self, key: str, share: Mapping[str, float]) -> RemoteAgent:
        assert self._wanted is not None, "an attempt is wanted"
        return RemoteAgent(key, share, heed=partial(heed, self._requests), spot=self._wanted.go.wish.spot)

    def _close(self) -> None:
        self._holders.close()
        self._spares.close()
        for agent, _ in self._agents.values():
            agent.close()


def _answer(question: Callable[[], Answer]) -> Answer:
    """Return what the cluster's head answers. Raises PlacementLost if it does not."""
    try:
        return question()
    except Exception as error:
        raise PlacementLost(f"the Ray cluster does not answer any more: {error}") from error


def _plan(wanted: Wanted, nodes: Mapping[str, Node]) -> AttemptPlan:
    device = "cuda" if any(node.gpus for node in nodes.values()) else "cpu"
    go = wanted.go
    return plan_attempt(go.plan, go.wish, Cluster(nodes=tuple(nodes.values())), attempt=wanted.attempt,
                        micro_batch=go.micro_batch, device=device, resume=None)


def _start_on(placed: AttemptPlan, node: Node, agent: RemoteAgent, slots: int, old: Sequence[ProcessId]) -> None:
    """Start a node's workers. Raises AgentLost with the node."""
    try:
        agent.start(slots, placed.threads, placed.device, old)
    except AgentLost as error:
        raise AgentLost(str(error), node.name) from error
