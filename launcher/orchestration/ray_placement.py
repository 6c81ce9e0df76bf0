"""Bringing attempts onto nodes through Ray: a private cluster on this machine, or one that is there.

Importing it imports Ray, which the controller does while its standbys import torch. An agent is an actor bound to its
node by the node's id, and takes what its workers take; it is kept from attempt to attempt with the workers that it has
made ready, as long as it answers. What takes minutes, waiting for nodes that others hold, ends with a stop.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TypeVar

from launcher.core.attempt import AttemptPlan, Cluster, Node
from launcher.core.attempt_planning import plan_attempt
from launcher.core.errors import PlatformError, Unplannable, UserError
from launcher.orchestration import ray_cluster
from launcher.orchestration.gang import AgentLost
from launcher.orchestration.node_agent import ORPHAN_GRACE_S, Agent, NodeAgent
from launcher.orchestration.placement import PlacementLost, Surroundings, Wanted, heed, settled
from launcher.orchestration.ray_agent import RemoteAgent
from launcher.orchestration.requests import Requests
from launcher.orchestration.startup import Stopwatch
from launcher.storage.process_id import ProcessId, children, descendants, leave

RAY_PROCESSES = "ray.json"
"""In the scratch folder: what the supervisor ends if the controller dies without ending it."""
AGENT_S = 60.0
"""For an actor on a node that is there and free."""
EMBEDDED: Mapping[str, float] = {"CPU": 1.0}
Answer = TypeVar("Answer")


class EmbeddedPlacement:
    """A private Ray of one node; the first attempt's workers were started by the controller as standbys."""

    def __init__(self, scratch: Path, standbys: NodeAgent, folders: Sequence[str], requests: Requests,
                 cleanup: ExitStack) -> None:
        self._scratch, self._standbys, self._folders = scratch, standbys, folders
        self._requests, self._cleanup = requests, cleanup
        self._agent: RemoteAgent | None = None
        self._daemons: list[ProcessId] = []

    def place(self, wanted: Wanted, stopwatch: Stopwatch) -> tuple[Sequence[Agent], AttemptPlan]:
        """Start an attempt's workers, and Ray before the first."""
        placed = settled(wanted)
        old = [process for processes in wanted.old.values() for process in processes]
        if self._agent is None:
            leave(old, ORPHAN_GRACE_S)
            self._begin(placed, stopwatch)
        else:
            with stopwatch.phase("agents"):
                self._start(placed, old)
        assert self._agent is not None, "begun above"
        return [self._agent], placed

    def look(self, without: frozenset[str]) -> Surroundings:
        """Return that nothing ever changes here."""
        return Surroundings()

    def _begin(self, placed: AttemptPlan, stopwatch: Stopwatch) -> None:
        workers = {process.pid for process in self._standbys.processes()}
        with stopwatch.phase("ray"):
            # Registered first: a start that fails half-way leaves daemons too.
            self._cleanup.callback(ray_cluster.disconnect)
            _bring_up(self._requests, partial(ray_cluster.start_private, self._scratch / ray_cluster.FOLDER))
        self._daemons = [process for process in children() if process.pid not in workers]
        with stopwatch.phase("agents"):
            agent = self._new_agent()
            agent.adopt(self._scratch, self._folders, placed.threads, placed.device)
            self._standbys.let_go()

    def _start(self, placed: AttemptPlan, old: Sequence[ProcessId]) -> None:
        assert self._agent is not None, "the first attempt begins Ray"
        try:
            self._agent.start(placed.world_size, placed.threads, placed.device, old)
        except AgentLost:
            self._new_agent().start(placed.world_size, placed.threads, placed.device, old)

    def _new_agent(self) -> RemoteAgent:
        """Start the node's agent, and write down what would have to be ended by pid. Raises PlacementLost."""
        try:
            node = next(iter(ray_cluster.live_nodes()))
            self._agent = RemoteAgent(node, EMBEDDED, self._scratch, heed=partial(heed, self._requests))
            process = self._agent.ready(AGENT_S)
        except PlacementLost:
            raise
        except Exception as error:
            raise PlacementLost(f"Ray on this machine does not answer any more: {error}") from error
        self._cleanup.callback(self._agent.close)
        # With what they started: the raylet's own helpers outlive it by half a minute when it goes with its GCS.
        helpers = [child for daemon in self._daemons for child in descendants(daemon)]
        family = [*self._daemons, *helpers, process]
        (self._scratch / RAY_PROCESSES).write_text(json.dumps([process.model_dump() for process in family]))
        return self._agent


class ClusterPlacement:
    """An existing cluster, whose nodes may come and go."""

    def __init__(self, address: str, requests: Requests, cleanup: ExitStack) -> None:
        self._address, self._requests, self._cleanup = address, requests, cleanup
        self._agents: dict[str, tuple[RemoteAgent, Mapping[str, float]]] = {}
        """By node id, with what each takes of the node."""
        self._wanted: Wanted | None = None
        self._placed: AttemptPlan | None = None
        self._ids: list[str] = []

    def place(self, wanted: Wanted, stopwatch: Stopwatch) -> tuple[Sequence[Agent], AttemptPlan]:
        """Start an attempt's workers on the nodes that are there now."""
        if self._wanted is None:
            with stopwatch.phase("ray"):
                self._cleanup.callback(ray_cluster.disconnect)
                _bring_up(self._requests, partial(ray_cluster.connect, self._address))
            self._cleanup.callback(self._close)
        self._wanted = wanted
        nodes = self._nodes(wanted.without)
        try:
            placed = _plan(wanted, nodes)
        except Unplannable:
            # Better nodes that have failed before than none.
            nodes = self._nodes(frozenset())
            placed = _plan(wanted, nodes)
        slots = [sum(place.node == node for place in placed.ranks) for node in range(len(nodes))]
        self._ids = list(nodes)
        with stopwatch.phase("placement"):
            self._take([_share(node, count, placed) for node, count in zip(nodes.values(), slots, strict=True)])
        with stopwatch.phase("agents"):
            agents = [self._agents[node][0] for node in self._ids]
            with ThreadPoolExecutor(len(agents)) as pool:
                old = [wanted.old.get(node.name, ()) for node in nodes.values()]
                started = pool.map(lambda agent, count, left: agent.start(count, placed.threads, placed.device, left),
                                   agents, slots, old)
                list(started)
        self._placed = placed
        return agents, placed

    def look(self, without: frozenset[str]) -> Surroundings:
        """Return which nodes will be taken away, and whether there is room for more workers."""
        if self._wanted is None or self._placed is None:
            return Surroundings()
        nodes = self._nodes(without)
        leaving = _answer(ray_cluster.draining)
        used = dict(zip(self._ids, self._placed.cluster.nodes, strict=True))
        try:
            could = _plan(self._wanted, nodes).world_size
        except UserError:
            could = 0
        return Surroundings(could > self._placed.world_size,
                            tuple((node.name, leaving[key]) for key, node in used.items() if key in leaving))

    def _nodes(self, without: frozenset[str]) -> dict[str, Node]:
        """Return the nodes to use: those in use first, so that ranks stay where they are."""
        assert self._wanted is not None, "asked after the first attempt was wanted"
        there = {key: node for key, node in _answer(ray_cluster.live_nodes).items() if node.name not in without}
        kept = {key: there[key] for key in self._ids if key in there}
        nodes = kept | there
        most = self._wanted.go.wish.nodes or len(nodes)
        return dict(list(nodes.items())[:most])

    def _take(self, shares: Sequence[Mapping[str, float]]) -> None:
        """Have an agent on each node that holds its share. Raises PlatformError with what is missing."""
        for key in set(self._agents) - set(self._ids):
            self._agents.pop(key)[0].close()
        made: list[RemoteAgent] = []
        for key, share in zip(self._ids, shares, strict=True):
            held = self._agents.get(key)
            if held is None or held[1] != share or not held[0].answers():
                if held is not None:
                    held[0].close()
                self._agents[key] = RemoteAgent(key, share, heed=partial(heed, self._requests)), share
                made.append(self._agents[key][0])
        try:
            for agent in made:
                agent.ready(ray_cluster.PLACEMENT_TIMEOUT_S)
        except AgentLost:
            for key in [key for key, (agent, _) in self._agents.items() if agent in made]:
                self._agents.pop(key)[0].close()
            raise PlatformError(ray_cluster.diagnosis(shares, ray_cluster.PLACEMENT_TIMEOUT_S)) from None

    def _close(self) -> None:
        for agent, _ in self._agents.values():
            agent.close()


def _bring_up(requests: Requests, start: Callable[[], None]) -> None:
    """Start Ray or join it. It takes SIGTERM for itself meanwhile, and would leave without a word to anybody."""
    try:
        start()
    except SystemExit:
        requests.ask_stop("signal")
    requests.take_signals()
    heed(requests)


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


def _share(node: Node, slots: int, placed: AttemptPlan) -> dict[str, float]:
    """Return what one node's agent and workers take, so that Ray places nothing else onto it."""
    gpus = {"GPU": float(slots)} if placed.device == "cuda" else {}
    return {"CPU": float(max(1, min(node.cores, slots * placed.threads)))} | gpus
