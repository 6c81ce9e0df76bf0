"""One machine's part of a small all-reduce: `python -m launcher.runtime.reduce_trial ADDRESS PORT RANK WORLD MINE GPU`.

Prints one line of JSON for each backend, the CPU's first, so that what is known before the other one hangs is not lost.
Uses gloo and NCCL as a run's workers do; how long all this may take is its caller's.
"""

import os
import sys
import time
from datetime import timedelta
from typing import Literal

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import PrefixStore, Store, TCPStore

from launcher.core.site_facts import Reduction
from launcher.runtime.environment import GLOO_INTERFACE, interface_of

ELEMENTS = 4 * 2**20
"""Of 4 bytes: long enough for a rate, short enough for a slow network."""
ROUNDS = 3
"""The first one opens connections; the fastest counts."""
JOIN, GROUP, LEAVE_S = timedelta(seconds=60), timedelta(seconds=45), 10.0
"""For the slowest import; for a group and its rounds; for the others' last reading."""


def main() -> int:
    """Take part; exit code 0 whatever came of it, as long as it could be told."""
    address, port, rank, world, mine, gpu = sys.argv[1:]
    if interface := interface_of(mine):
        # As for workers: without it gloo takes what the host's name stands for.
        os.environ.setdefault(GLOO_INTERFACE, interface)
    where = os.environ.get(GLOO_INTERFACE, "")
    backends: list[Literal["gloo", "nccl"]] = ["gloo", "nccl"] if gpu == "1" else ["gloo"]
    store = TCPStore(address, int(port), int(world), is_master=rank == "0", wait_for_workers=False, timeout=JOIN)
    for backend in backends:
        try:
            found = reduction(backend, PrefixStore(backend, store), int(rank), int(world), where)
        except (RuntimeError, ValueError) as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            found = Reduction(backend=backend, problem=lines[0][:200], interface=where)
        print(found.model_dump_json(), flush=True)
    # The store lives with rank 0, whose end must not come before the others have read.
    store.add("gone", 1)
    until = time.monotonic() + LEAVE_S
    while rank == "0" and store.add("gone", 0) < int(world) and time.monotonic() < until:
        time.sleep(0.05)
    return 0


def reduction(backend: Literal["gloo", "nccl"], store: Store, rank: int, world: int,
              interface: str) -> Reduction:
    """Sum a vector over all ranks some times; return whether the sum is right, and the fastest rate."""
    dist.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=GROUP)
    try:
        device = torch.device("cuda", 0) if backend == "nccl" else torch.device("cpu")
        fastest, right = float("inf"), True
        for _ in range(ROUNDS):
            # Small whole numbers: their sum is exact in fp32 in whatever order.
            values = (torch.arange(ELEMENTS, device=device) % 1024 + rank).float()
            seconds = _timed(values, device)
            expected = (torch.arange(ELEMENTS, device=device) % 1024).float() * world + world * (world - 1) // 2
            fastest, right = min(fastest, seconds), right and bool(torch.equal(values, expected))
    finally:
        dist.destroy_process_group()
    sent = 2 * (world - 1) / world * ELEMENTS * 4
    return Reduction(backend=backend, right=right, bytes_s=sent / fastest, interface=interface)


def _timed(values: torch.Tensor, device: torch.device) -> float:
    begin = time.perf_counter()
    dist.all_reduce(values)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - begin


if __name__ == "__main__":
    sys.exit(main())
