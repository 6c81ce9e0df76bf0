"""A Ray cluster of two nodes that belongs to somebody else: prints its address and stays until its input closes.

Lines on its input: `add` brings another node, `kill` ends the newest one's raylet, `drain` announces that it will go.
"""

import subprocess
import sys
from typing import Any

from ray.cluster_utils import Cluster

MEMORY = 80 * 2**20
RAY = (sys.executable, "-m", "ray.scripts.scripts")
"""The command, wherever it is installed."""


def add(cluster: Cluster, number: int) -> Any:
    return cluster.add_node(num_cpus=2, object_store_memory=MEMORY, node_name=f"node-{number}")


if __name__ == "__main__":
    head = {"num_cpus": 2, "include_dashboard": False, "object_store_memory": MEMORY, "node_name": "head"}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    nodes = [add(cluster, 1)]
    print(cluster.address, flush=True)
    for number, line in enumerate(sys.stdin, start=2):
        if line.strip() == "add":
            nodes.append(add(cluster, number))
        elif line.strip() == "kill":
            cluster.remove_node(nodes.pop(), allow_graceful=False)
        else:
            subprocess.run([*RAY, "drain-node", "--address", cluster.address, "--node-id", nodes.pop().node_id,
                            "--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "spot",
                            "--deadline-remaining-seconds", "60"], check=True, stdout=sys.stderr)
        print("done", flush=True)
    cluster.shutdown()
