"""Ports for a Ray that shares its nodes with other jobs: a block for each job and node, every port in it named.

Ray picks ports at random otherwise, and its own parts then take each other's. Blocks lie below the range from which the
kernel gives ports to whoever asks for none, and miss Ray's usual ports, on which somebody else's may be. The last port
of a block is the guard: whoever holds it has the block, so two jobs that look at the same moment take different ones.
"""

import errno
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from launcher.core.errors import PlatformError

FIRST, LAST, SIZE = 20_000, 32_000, 240
NODE_PORTS = ("node-manager-port", "object-manager-port", "runtime-env-agent-port", "dashboard-agent-grpc-port",
              "dashboard-agent-listen-port", "metrics-export-port")
HEAD_PORTS = ("port", "ray-client-server-port", "dashboard-port")
"""Options of `ray start`, each with a port of the block; what is left is for Ray's worker processes."""


@dataclass(frozen=True)
class HeldBlock:
    """A block of ports that is this process's as long as the value lives."""

    ports: range
    guard: socket.socket = field(repr=False)


def blocks(job: int, node: int) -> Iterator[range]:
    """Yield all blocks, the one first that is this job's and node's if nobody is in it."""
    count = (LAST - FIRST) // SIZE
    # Nodes too: tests, and some sites, have several of one host.
    begin = job + 7 * node
    for number in range(begin, begin + count):
        first = FIRST + number % count * SIZE
        yield range(first, first + SIZE)


def free_block(job: int, node: int, is_free: Callable[[int], bool]) -> range:
    """Return the first block in which every port is free. Raises PlatformError."""
    for block in blocks(job, node):
        if all(map(is_free, block)):
            return block
    raise PlatformError(f"no {SIZE} ports in a row are free between {FIRST} and {LAST}; what listens on all of them? "
                        "`ss -ltnp` shows it")


def hold_block(job: int, node: int) -> HeldBlock:
    """Take the first block in which every port is free. Raises PlatformError."""
    while True:
        block = free_block(job, node, nobody_listens)
        # Otherwise somebody else has taken it since, so that the next look passes it over.
        if (guard := _held(block[-1])) is not None:
            return HeldBlock(block, guard)


def head_block(port: int) -> range:
    """Return the block of which this is the head's port, the first."""
    return range(port, port + SIZE)


def options(block: range, *, head: bool) -> list[str]:
    """Return the options of `ray start` that name every port."""
    names = (*(HEAD_PORTS if head else ()), *NODE_PORTS)
    left = block[len(HEAD_PORTS) + len(NODE_PORTS):] if head else block[len(NODE_PORTS):]
    named = [f"--{name}={port}" for name, port in zip(names, block, strict=False)]
    return [*named, f"--min-worker-port={left[0]}", f"--max-worker-port={left[-2]}"]  # The last is the guard.


def nobody_listens(port: int) -> bool:
    """Return whether a port of this machine can be had."""
    trial = _held(port)
    if trial is not None:
        trial.close()
    return trial is not None


def _held(port: int) -> socket.socket | None:
    """Return what holds a port of this machine; None if somebody else does."""
    # Not inherited: what this process starts does not hold it longer.
    holder = socket.socket()
    try:
        holder.bind(("", port))
        # Others could bind it too, until somebody listens.
        holder.listen(1)
    except OSError as error:
        holder.close()
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            return None
        raise
    return holder
