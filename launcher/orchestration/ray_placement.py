"""Bringing an attempt onto nodes through Ray: cluster, reservation, one agent per node, workers.

Importing it imports Ray, which the controller does while its standbys import torch.
"""

import json
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from launcher.core.attempt import AttemptPlan, Node
from launcher.core.attempt_planning import plan_attempt
from launcher.orchestration import ray_cluster
from launcher.orchestration.node_agent import NodeAgent
from launcher.orchestration.ray_agent import RemoteAgent
from launcher.orchestration.requests import Go, Requests
from launcher.orchestration.startup import Stopwatch
from launcher.storage.process_id import children, descendants

RAY_PROCESSES = "ray.json"
"""In the scratch folder: what the supervisor ends if the controller dies without ending it."""


def place_embedded(stopwatch: Stopwatch, scratch: Path, standbys: NodeAgent, folders: Sequence[str],
                   requests: Requests, cleanup: ExitStack) -> RemoteAgent:
    """Start a private Ray and hand this node's standbys to its agent."""
    workers = {process.pid for process in standbys.processes()}
    with stopwatch.phase("ray"):
        # Registered first: a start that fails half-way leaves daemons too.
        cleanup.callback(ray_cluster.disconnect)
        ray_cluster.start_private(scratch / ray_cluster.FOLDER)
        # Ray takes SIGTERM for itself when it starts, and would leave without a word to the workers.
        requests.take_signals()
    daemons = [process for process in children() if process.pid not in workers]
    with stopwatch.phase("placement"):
        group = ray_cluster.reserve([{"CPU": 1}])
    with stopwatch.phase("agents"):
        agent = RemoteAgent(group, 0, {"CPU": 1})
        cleanup.callback(agent.close)
        agent.adopt(str(scratch), folders)
        # With what they started: the raylet's own helpers outlive it by half a minute when it goes with its GCS.
        family = [*daemons, *(child for daemon in daemons for child in descendants(daemon)), agent.process()]
        (scratch / RAY_PROCESSES).write_text(json.dumps([process.model_dump() for process in family]))
        standbys.let_go()
    return agent


def place_on_cluster(go: Go, stopwatch: Stopwatch, address: str, requests: Requests,
                     cleanup: ExitStack) -> tuple[list[RemoteAgent], AttemptPlan]:
    """Connect to a cluster, place the attempt on its nodes and start the workers there."""
    with stopwatch.phase("ray"):
        cleanup.callback(ray_cluster.disconnect)
        ray_cluster.connect(address)
        requests.take_signals()
    placed = _place(go)
    slots = [sum(place.node == node for place in placed.ranks) for node in range(len(placed.cluster.nodes))]
    bundles = [_bundle(node, count, placed) for node, count in zip(placed.cluster.nodes, slots, strict=True)]
    with stopwatch.phase("placement"):
        group = ray_cluster.reserve(bundles)
    agents = [RemoteAgent(group, index, bundle) for index, bundle in enumerate(bundles)]
    with stopwatch.phase("agents"):
        for agent, count in zip(agents, slots, strict=True):
            cleanup.callback(agent.close)
            agent.start(count, placed.threads, placed.device)
    return agents, placed


def _place(go: Go) -> AttemptPlan:
    found = ray_cluster.cluster()
    device = "cuda" if any(node.gpus for node in found.nodes) else "cpu"
    return plan_attempt(go.plan, go.wish, found, attempt=go.attempt, micro_batch=go.micro_batch, device=device,
                        resume=None)


def _bundle(node: Node, slots: int, placed: AttemptPlan) -> dict[str, float]:
    """Return what one node's agent and workers take, so that Ray places nothing else onto it."""
    gpus = {"GPU": float(slots)} if placed.device == "cuda" else {}
    return {"CPU": float(max(1, min(node.cores, slots * placed.threads)))} | gpus
