"""Bringing attempts onto nodes through Ray: a private cluster on this machine, or one that is there.

Importing it imports Ray, which the controller does while its standbys import torch. An agent is an actor bound to its
node by the node's id, and takes what its workers take; it is kept from attempt to attempt with the workers that it has
made ready, as long as it answers. Which nodes an attempt takes is `vacancy`. What takes minutes, waiting for nodes that
others hold, ends with a stop.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TypeVar

from launcher.core.attempt import AttemptPlan, Cluster, Node
from launcher.core.attempt_planning import plan_attempt
from launcher.core.errors import PlatformError, Unplannable
from launcher.core.stopping import ORPHAN_GRACE_S
from launcher.orchestration import ray_cluster
from launcher.orchestration.gang import AgentLost
from launcher.orchestration.node_agent import Agent, NodeAgent
from launcher.orchestration.placement import PlacementLost, Surroundings, Wanted, heed, settled
from launcher.orchestration.ray_agent import RemoteAgent
from launcher.orchestration.requests import Requests
from launcher.orchestration.spares import Spares
from launcher.orchestration.startup import Stopwatch
from launcher.orchestration.vacancy import Choice, choose, spares, with_room
from launcher.storage.process_id import ProcessId, children, descendants, leave

RAY_PROCESSES = "ray.json"
"""In the scratch folder: what the supervisor ends if the controller dies without ending it."""
VACATE_S, VACATE_POLL_S = 15.0, 0.5
"""For nodes that somebody holds, before an attempt begins with fewer: orphans give themselves ten seconds."""
SILENT_S = 90.0
"""Ray gives a silent node up within a minute. One that is there after that was heard again."""
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
        self._spares = Spares(self._agent_on)
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
                _bring_up(self._requests, partial(ray_cluster.connect, self._address))
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
        nodes = self._good(without)
        could = self._with_room(self._wanted, nodes)
        if count := self._wanted.go.wish.spares:
            used = {*self._ids, *(could.nodes if could else ())}
            wanted = spares(nodes, used, count, self._placed, _answer(ray_cluster.free), {*self._spares})
            self._spares.hold(wanted, self._placed)
        leaving = _answer(ray_cluster.draining)
        mine = dict(zip(self._ids, self._placed.cluster.nodes, strict=True))
        return Surroundings(could is not None and could.placed.world_size > self._placed.world_size,
                            tuple((node.name, leaving[key]) for key, node in mine.items() if key in leaving))

    def _choice(self, wanted: Wanted) -> Choice:
        """Return the nodes to use: such as can be reached and have not failed, while those are enough. Raises
        Unplannable.

        What others hold may be free in a moment: a controller that was lost leaves agents that let their workers save.
        """
        self._silent |= dict.fromkeys(_answer(ray_cluster.silent), time.monotonic() + SILENT_S)
        nodes, plan = self._good(wanted.without), partial(_plan, wanted)
        try:
            whole = choose(nodes, wanted.go.wish.nodes, plan)
        except Unplannable:
            # Better nodes that have failed before than none.
            nodes = self._good(frozenset())
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

    def _nodes(self, without: frozenset[str]) -> dict[str, Node]:
        """Return the nodes that are there: those in use first, so that ranks stay where they are."""
        there = {key: node for key, node in _answer(ray_cluster.live_nodes).items() if node.name not in without}
        return {key: there[key] for key in self._ids if key in there} | there

    def _good(self, without: frozenset[str]) -> dict[str, Node]:
        """Return those of them that could be reached: one without power is there until Ray has noticed."""
        now = time.monotonic()
        return {key: node for key, node in self._nodes(without).items() if self._silent.get(key, now) <= now}

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
        return RemoteAgent(key, share, heed=partial(heed, self._requests))

    def _close(self) -> None:
        self._spares.close()
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


def _start_on(placed: AttemptPlan, node: Node, agent: RemoteAgent, slots: int, old: Sequence[ProcessId]) -> None:
    """Start a node's workers. Raises AgentLost with the node."""
    try:
        agent.start(slots, placed.threads, placed.device, old)
    except AgentLost as error:
        raise AgentLost(str(error), node.name) from error
