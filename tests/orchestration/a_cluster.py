"""A Ray cluster of two nodes that belongs to somebody else: prints its address and stays until its input closes."""

import sys

from ray.cluster_utils import Cluster

if __name__ == "__main__":
    head = {"num_cpus": 2, "include_dashboard": False, "object_store_memory": 80 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    cluster.add_node(num_cpus=2, object_store_memory=80 * 2**20)
    print(cluster.address, flush=True)
    sys.stdin.read()
    cluster.shutdown()
