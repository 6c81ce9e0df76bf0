"""Bringing attempts onto this machine through a private Ray, which lives as long as the controller.

Importing it imports Ray, which the controller does while its standbys import torch. The first attempt's workers are
those standbys, handed over to the agent as soon as there is one. A cluster that is there is `cluster_placement`'s.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from launcher.core.attempt import AttemptPlan
from launcher.core.events import SpotNoticed
from launcher.core.peer_copies import Holding, Mark
from launcher.core.spot_notice import SpotWish
from launcher.orchestration import ray_cluster
from launcher.orchestration.gang import AgentLost
from launcher.orchestration.node_agent import Agent, NodeAgent
from launcher.orchestration.placement import PlacementLost, Surroundings, Wanted, bring_up, heed, one_machine, settled
from launcher.orchestration.ray_agent import RemoteAgent, ask_all
from launcher.orchestration.requests import Requests
from launcher.orchestration.spot_notices import SpotNotices
from launcher.orchestration.startup import Stopwatch
from launcher.storage.orphan_grace import ORPHAN_GRACE_S
from launcher.storage.process_id import ProcessId, children, descendants, leave

AGENT_S = 60.0
"""For an actor on a node that is there and free."""
EMBEDDED: Mapping[str, float] = {"CPU": 1.0}


class EmbeddedPlacement:
    """A private Ray of one node; the first attempt's workers were started by the controller as standbys."""

    def __init__(self, scratch: Path, standbys: NodeAgent, folders: Sequence[str], requests: Requests,
                 cleanup: ExitStack) -> None:
        self._scratch, self._standbys, self._folders = scratch, standbys, folders
        self._requests, self._cleanup = requests, cleanup
        self._agent: RemoteAgent | None = None
        self._daemons: list[ProcessId] = []
        self._spot: SpotWish | None = None
        self._placed: AttemptPlan | None = None
        self._notices = SpotNotices()

    def place(self, wanted: Wanted, stopwatch: Stopwatch) -> tuple[Sequence[Agent], AttemptPlan]:
        """Start an attempt's workers, and Ray before the first."""
        placed, self._spot = settled(wanted), wanted.go.wish.spot
        old = [process for processes in wanted.old.values() for process in processes]
        if self._agent is None:
            leave(old, ORPHAN_GRACE_S)
            self._begin(placed, stopwatch)
        else:
            with stopwatch.phase("agents"):
                self._start(placed, old)
        assert self._agent is not None, "begun above"
        self._placed = placed
        return [self._agent], placed

    def look(self, without: frozenset[str]) -> Surroundings:
        """Return whether this machine will be taken away; nothing else ever changes here."""
        ask_all([self._agent] if self._agent else [])
        return one_machine(self._notices, self._placed, self._agent.told() if self._agent else None)

    def noticed(self) -> Sequence[SpotNoticed]:
        """Return what this machine's cloud said of it since this was asked before."""
        return self._notices.unsaid()

    def saved(self, mark: Mark) -> None:
        """Do nothing: there is no other node."""

    def holdings(self, step: int) -> Sequence[Holding]:
        """Return nothing: there is no other node."""
        return ()

    def _begin(self, placed: AttemptPlan, stopwatch: Stopwatch) -> None:
        workers = {process.pid for process in self._standbys.processes()}
        with stopwatch.phase("ray"):
            # Registered first: a start that fails half-way leaves daemons too.
            self._cleanup.callback(ray_cluster.disconnect)
            bring_up(self._requests, partial(ray_cluster.start_private, self._scratch / ray_cluster.FOLDER))
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
            self._agent = RemoteAgent(node, EMBEDDED, self._scratch, heed=partial(heed, self._requests),
                                      spot=self._spot)
            process = self._agent.ready(AGENT_S)
        except PlacementLost:
            raise
        except Exception as error:
            raise PlacementLost(f"Ray on this machine does not answer any more: {error}") from error
        self._cleanup.callback(self._agent.close)
        # With what they started: the raylet's own helpers outlive it by half a minute when it goes with its GCS.
        helpers = [child for daemon in self._daemons for child in descendants(daemon)]
        family = [*self._daemons, *helpers, process]
        (self._scratch / ray_cluster.PROCESSES).write_text(json.dumps([process.model_dump() for process in family]))
        return self._agent
