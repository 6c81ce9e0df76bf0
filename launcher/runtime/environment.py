"""What a worker process sets in its own process: environment variables, threads, logs, warnings, seeds.

The names that torch and DeepSpeed read stand in one table here and nowhere else.
"""

import os
import random
import sys
import warnings
from pathlib import Path

import numpy
import torch

from launcher.core.attempt import WorkerOrders

RANK, LOCAL_RANK, WORLD_SIZE = "RANK", "LOCAL_RANK", "WORLD_SIZE"
GLOO_INTERFACE = "GLOO_SOCKET_IFNAME"
CUBLAS_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
RENAMED_COLLECTIVES = r"`torch\.distributed\.\w+` is deprecated"
"""A FutureWarning at every collective of every step; the calls are DeepSpeed's."""


def redirect_output(log: Path) -> None:
    """Append everything this process prints, C libraries included, to the rank's log."""
    sys.stdout.flush()
    sys.stderr.flush()
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)


def hide_known_warnings() -> None:
    """Keep out of the rank's log what would fill it and hide the rest of it."""
    warnings.filterwarnings("ignore", RENAMED_COLLECTIVES, FutureWarning)


def interface_of(address: str) -> str | None:
    """Return the network interface that owns an IP address on this machine, or None."""
    import psutil

    for name, addresses in psutil.net_if_addrs().items():
        if any(entry.address == address for entry in addresses):
            return name
    return None


def set_ranks(orders: WorkerOrders) -> None:
    """Set what DeepSpeed reads from the environment, the interface that gloo binds, threads and determinism."""
    place = orders.attempt.ranks[orders.rank]
    os.environ[RANK] = str(orders.rank)
    os.environ[LOCAL_RANK] = str(place.local_rank)
    os.environ[WORLD_SIZE] = str(orders.attempt.world_size)
    # Without it gloo resolves the host's name, which on many machines is 127.0.1.1 or has no route to the peers.
    if interface := interface_of(orders.attempt.cluster.nodes[place.node].address):
        os.environ.setdefault(GLOO_INTERFACE, interface)
    torch.set_num_threads(orders.attempt.threads)
    if orders.plan.deterministic:
        # cuBLAS reads it when its first handle is made; without it deterministic products raise.
        os.environ.setdefault(CUBLAS_WORKSPACE, ":4096:8")
        torch.use_deterministic_algorithms(True)


def device_of(orders: WorkerOrders) -> torch.device:
    """Return the worker's device and make it the current one."""
    if orders.attempt.device == "cpu":
        return torch.device("cpu")
    # CUDA_VISIBLE_DEVICES was final before this interpreter started, so the local rank counts visible devices.
    local_rank = orders.attempt.ranks[orders.rank].local_rank
    device = torch.device("cuda", local_rank if local_rank < torch.cuda.device_count() else 0)
    torch.cuda.set_device(device)
    return device


def seed_everything(seed: int, row: int) -> None:
    """Seed every generator from the run's seed and the number of the next row.

    Noise is then a function of the plan: no generator state needs saving for an exact resume.
    """
    value = (seed * 0x9E3779B97F4A7C15 + row * 0xBF58476D1CE4E5B9) % 2**63
    random.seed(value)
    numpy.random.seed(value % 2**32)  # The global generator: model code may draw from it.
    torch.manual_seed(value)
