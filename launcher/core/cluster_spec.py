"""Clusters as people write them, for plans of machines that are not there: 4x8xH100-80."""

import re

from launcher.core.attempt import Cluster, Node
from launcher.core.errors import UserError

GIB = 2**30


def parse_cluster(text: str) -> Cluster:
    """Return the cluster that `NODESxGPUS`, `NODESxGPUSxNAME` or `NODESxGPUSxNAME-GIB` means. Raises UserError."""
    match = re.fullmatch(r"(\d+)x(\d+)(?:x([A-Za-z][A-Za-z0-9]*)(?:-(\d+))?)?", text.strip())
    if match is None or not int(match[1]) or not int(match[2]):
        raise UserError(f"--cluster {text}: write NODESxGPUSxNAME-GIB, for example 4x8xH100-80")
    gpus, memory = int(match[2]), int(match[4] or 0) * GIB
    return Cluster(nodes=tuple(Node(name=f"node-{number}", address="", slots=gpus, gpus=gpus, gpu_memory=memory)
                               for number in range(int(match[1]))))
