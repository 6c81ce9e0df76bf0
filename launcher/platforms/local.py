"""This machine as a node: cores, memory, GPUs, and how many workers it has room for by default.

Counts GPUs without importing torch, which would cost seconds and create a CUDA context.
"""

import os
import shutil
import socket
import subprocess
from pathlib import Path

from launcher.core.attempt import Cluster, Node

CPU_WORKERS = 2
"""On a machine without a GPU a run is a rehearsal: two workers show everything that many would."""
_CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def local_cluster(workers: int | None = None) -> Cluster:
    """Return this machine as a cluster of one node with room for the workers asked for, even beyond its cores."""
    memories = gpu_memories()
    slots = workers or len(memories) or CPU_WORKERS
    # The loopback address: one machine needs no network, and a laptop's other address changes with its network.
    node = Node(name=socket.gethostname(), address="127.0.0.1", slots=slots, gpus=len(memories), cores=cores(),
                memory=memory(), gpu_memory=min(memories, default=0))
    return Cluster(nodes=(node,))


def cores() -> int:
    """Return how many cores this process may use: a batch system gives fewer than the machine has."""
    return len(os.sched_getaffinity(0))


def memory() -> int:
    """Return the bytes of memory this process may use: the machine's, or its control group's limit if lower."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([physical, *(limit for path in _CGROUP_LIMITS if (limit := _cgroup_limit(path)))])


def gpu_memories() -> list[int]:
    """Return the bytes of memory of each visible NVIDIA GPU; an empty list without any."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and visible.strip() in ("", "-1"):
        return []
    command = shutil.which("nvidia-smi")
    if command is None:
        return []
    query = [command, "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    found = [int(line) * 2**20 for line in answer.split() if line.isdigit()]
    return found[: len(visible.split(","))] if visible is not None else found


def _cgroup_limit(path: Path) -> int | None:
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
