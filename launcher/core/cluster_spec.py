"""Clusters as people write them, for plans of machines that are not there: 4x8xH100-80."""

import re

from launcher.core.attempt import Cluster, Node
from launcher.core.errors import UserError
from launcher.core.hardware import GIB, GPUS, Hardware, known_gpu

MOST_GPUS = 1_000_000
"""More than any cluster has; a plan of more would take all of this machine's memory."""
_FORM = re.compile(r"(?:(\d+)x)?(\d+)x([A-Za-z][A-Za-z0-9]*)(?:-(\d+))?|(\d+)x(\d+)")


def parse_cluster(text: str) -> Cluster:
    """Return the cluster that `NODESxGPUS`, `NODESxGPUSxNAME-GIB` or, of one node, `GPUSxNAME-GIB` means. The memory
    of a known GPU may be left out. Raises UserError."""
    nodes, gpus, name, gib = _parts(text)
    known = known_gpu(name, gib) if name else None
    memory = gib * GIB or (known.memory_bytes if known else 0)
    return Cluster(nodes=tuple(Node(name=f"node-{number}", address="", slots=gpus, gpus=gpus, gpu_memory=memory)
                               for number in range(nodes)))


def hardware_of(text: str) -> Hardware | None:
    """Return what is known of the cluster's GPUs; None if it names none, or one that is not in the table."""
    _, _, name, gib = _parts(text)
    return known_gpu(name, gib) if name else None


def known_names() -> str:
    """Return the GPUs that are known, for a message."""
    return ", ".join(GPUS)


def _parts(text: str) -> tuple[int, int, str, int]:
    match = _FORM.fullmatch(text.strip())
    nodes = int((match[5] or match[1] or 1) if match else 0)
    gpus = int((match[6] or match[2]) if match else 0)
    if match is None or not nodes or not gpus:
        raise UserError(f"--cluster {text}: write NODESxGPUSxNAME-GIB, for example 4x8xH100-80")
    if nodes * gpus > MOST_GPUS:
        raise UserError(f"--cluster {text}: {nodes * gpus:,} GPUs; at most {MOST_GPUS:,} can be planned for")
    if match[4] is not None and not int(match[4]):
        raise UserError(f"--cluster {text}: a GPU without memory; write its GiB, or leave them out: {match[3]}")
    return nodes, gpus, match[3] or "", int(match[4] or 0)
