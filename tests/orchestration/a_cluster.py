"""A Ray cluster of two nodes that belongs to somebody else: prints its address and stays until its input closes.

Lines on its input: `add` brings another node, `kill` ends the newest one's raylet, `kill oldest` that of the oldest but
the head, `lose oldest` everything that runs on that one at once, as a loss of power does, `drain` announces that the
newest will go, `settle` waits until the cluster knows what is gone, `hold` takes every CPU until `free`. With
`OWN_SCRATCH` in the environment each node has a folder of its own below it for what it keeps on its disk.
"""

import os
import signal
import subprocess
import sys
from typing import Any

import ray
from ray.cluster_utils import Cluster

from launcher.orchestration.metadata_services import URL
from launcher.storage.process_id import descendants, process_id

MEMORY = 80 * 2**20
OWN_SCRATCH = "OWN_SCRATCH"
SPOT_URL = os.environ.get(URL)
"""Of all machines together: each has its name added."""
RAY = (sys.executable, "-m", "ray.scripts.scripts")
"""The command, wherever it is installed."""


def at(place: str) -> None:
    """Let what starts next find the metadata service of its own machine, if these machines have any."""
    if SPOT_URL:
        os.environ[URL] = f"{SPOT_URL}/{place}"
    if OWN_SCRATCH in os.environ:
        os.environ["LAUNCHER_SCRATCH"] = f"{os.environ[OWN_SCRATCH]}/{place}"


def add(cluster: Cluster, number: int) -> Any:
    at(f"node-{number}")
    return cluster.add_node(num_cpus=2, object_store_memory=MEMORY, node_name=f"node-{number}")


def lose(cluster: Cluster, node: Any) -> None:
    """End everything that runs on a node, its raylet last: nothing of it has time to say or do anything."""
    raylet = process_id(node.all_processes["raylet"][0].process.pid)
    raylet.signal(signal.SIGSTOP)  # it would start what is missing
    for process in [*descendants(raylet), raylet]:
        process.kill()
    cluster.remove_node(node, allow_graceful=False)


class Holder:
    """Takes what it asks for and does nothing with it."""

    def here(self) -> None:
        """Say that it has it."""


def hold(address: str) -> list[Any]:
    """Take the CPUs of both nodes."""
    if not ray.is_initialized():
        ray.init(address=address, log_to_driver=False)
    holders = [ray.remote(Holder).options(num_cpus=2).remote() for _ in range(2)]
    ray.get([holder.here.remote() for holder in holders])
    return holders


if __name__ == "__main__":
    head = {"num_cpus": 2, "include_dashboard": False, "object_store_memory": MEMORY, "node_name": "head"}
    at("head")
    cluster = Cluster(initialize_head=True, head_node_args=head)
    nodes, held = [add(cluster, 1)], list[Any]()
    # What Ray has to say of lost nodes goes elsewhere: only answers are read from the output.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    print(cluster.address, file=answers, flush=True)
    for number, line in enumerate(sys.stdin, start=2):
        if line.strip() == "add":
            nodes.append(add(cluster, number))
        elif line.strip() == "kill":
            cluster.remove_node(nodes.pop(), allow_graceful=False)
        elif line.strip() == "kill oldest":
            cluster.remove_node(nodes.pop(0), allow_graceful=False)
        elif line.strip() == "settle":
            cluster.wait_for_nodes()
        elif line.strip() == "lose oldest":
            lose(cluster, nodes.pop(0))
        elif line.strip() == "hold":
            held = hold(cluster.address)
        elif line.strip() == "free":
            held.clear()
        else:
            subprocess.run([*RAY, "drain-node", "--address", cluster.address, "--node-id", nodes.pop().node_id,
                            "--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "spot",
                            "--deadline-remaining-seconds", "60"], check=True, stdout=sys.stderr)
        print("done", file=answers, flush=True)
    ray.shutdown()
    cluster.shutdown()
