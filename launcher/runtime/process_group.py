"""How the workers of an attempt find each other, and the one small collective in which they agree.

Rank 0 binds a port of the system's choice and keeps it, so no port is guessed and a new attempt never meets the
addresses of a dead one. A second (gloo) group carries control, apart from the group that carries gradients.
"""

from collections.abc import Callable
from datetime import timedelta

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import TCPStore

from launcher.core.attempt import WorkerOrders

# Peers join within seconds of each other; on a busy file system imports differ by a minute or two.
JOIN_TIMEOUT = timedelta(minutes=5)
# Rank 0 publishes as soon as it has its orders; nodes get theirs within seconds of each other.
RENDEZVOUS_TIMEOUT_S = 300.0
# A collective waits for the slowest rank's save or evaluation; hangs are found by the controller long before.
COLLECTIVE_TIMEOUT = timedelta(minutes=30)


def host_store(orders: WorkerOrders) -> tuple[TCPStore, str, int]:
    """Bind a free port on rank 0's address; return the store, the host and the port to publish."""
    place = orders.attempt.ranks[orders.rank]
    host = orders.attempt.cluster.nodes[place.node].address
    store = TCPStore(host, 0, orders.attempt.world_size, is_master=True, wait_for_workers=False,
                          timeout=JOIN_TIMEOUT)
    return store, host, store.port


def join_store(host: str, port: int, world_size: int) -> TCPStore:
    """Connect to rank 0's store."""
    return TCPStore(host, port, world_size, is_master=False, wait_for_workers=False, timeout=JOIN_TIMEOUT)


def open_groups(store: TCPStore, orders: WorkerOrders) -> dist.ProcessGroup:
    """Open the main group for gradients and return the control group."""
    backend = "nccl" if orders.attempt.device == "cuda" else "gloo"
    dist.init_process_group(backend, store=store, rank=orders.rank, world_size=orders.attempt.world_size,
                            timeout=COLLECTIVE_TIMEOUT)
    return new_group()


def new_group() -> dist.ProcessGroup:
    """Open another gloo group of all ranks, for one thread's use. Called by all ranks in the same order."""
    group = dist.new_group(backend="gloo", timeout=COLLECTIVE_TIMEOUT)
    assert isinstance(group, dist.ProcessGroup)
    return group


class Agreement:
    """Small vectors of floats, exchanged once per step on the control group."""

    def __init__(self, group: dist.ProcessGroup, world_size: int) -> None:
        self._group, self._world_size = group, world_size

    def begin(self, values: list[float]) -> Callable[[], torch.Tensor]:
        """Send this rank's values; return what waits for everybody's, float64 [ranks, len(values)].

        The same on all ranks. What is computed in between hides the time that the exchange takes.
        """
        mine = torch.tensor(values, dtype=torch.float64)
        if self._world_size == 1:
            return lambda: mine[None]
        everyone = torch.empty(self._world_size, len(values), dtype=torch.float64)
        work = dist.all_gather(list(everyone.unbind()), mine, group=self._group, async_op=True)

        def wait() -> torch.Tensor:
            assert work is not None, "an exchange that was begun can be waited for"
            work.wait()
            return everyone

        return wait

    def gather(self, values: list[float]) -> torch.Tensor:
        """Return every rank's values, float64 [ranks, len(values)], the same on all ranks."""
        return self.begin(values)()

    def barrier(self) -> None:
        """Wait until every rank is here."""
        self.gather([0.0])


class Exchange:
    """Texts of any length, exchanged on a group of its own, from whatever thread owns that group."""

    def __init__(self, group: dist.ProcessGroup, rank: int, world_size: int) -> None:
        self._group, self._rank, self._world_size = group, rank, world_size

    def all(self, text: str) -> list[str]:
        """Return every rank's text, in the order of ranks; called by all ranks."""
        data = torch.frombuffer(bytearray(text.encode() or b" "), dtype=torch.uint8)
        sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(self._world_size)]
        dist.all_gather(sizes, torch.tensor([len(data)]), group=self._group)
        longest = max(int(size) for size in sizes)
        texts = [torch.zeros(longest, dtype=torch.uint8) for _ in range(self._world_size)]
        dist.all_gather(texts, torch.nn.functional.pad(data, (0, longest - len(data))), group=self._group)
        return [text[: int(size)].numpy().tobytes().decode().strip() for text, size in zip(texts, sizes, strict=True)]

    def first(self, text: str) -> str:
        """Return rank 0's text; called by all ranks."""
        return self.all(text if self._rank == 0 else "")[0]
