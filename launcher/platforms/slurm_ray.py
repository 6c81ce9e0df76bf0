"""The Ray of one job: what its first node tells the others, and how `ray start` is called on each of them. Pure.

The object store carries letters and events only, so it is small; everything else that Ray would read from the host is
said.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

from launcher.core.document import Document
from launcher.core.ray_settings import FOREIGN, ORDER, SETTINGS, authentication
from launcher.platforms.ports import options
from launcher.platforms.slurm_environment import Share

RAY = (sys.executable, "-m", "ray.scripts.scripts")
"""The command, wherever it is installed."""
LEAST_STORE, MOST_STORE = 80 * 2**20, 2**30
"""Bytes; the smallest that Ray takes is little less."""
STORE_SHARE = 50
"""The object store gets a fiftieth of the job's memory on a node."""
TOKEN = "token"
RAYS = "r"
"""Ray opens its own folder to everybody, so it is one inside: nobody else may put another token in ours."""
HEAD = ("--head", "--include-dashboard=false", "--no-monitor")
"""Without what a run has no use for: a page, and an autoscaler that has nothing to scale."""


class Orders(Document):
    """What every node's task is told, on its standard input: this way the token lies in no shared folder."""

    job: int
    handle: str
    """What Slurm's commands call the job, where the number alone may stand for all tasks of an array."""
    address: str
    """Of the head's node."""
    port: int
    """The head's, the first of its block."""
    token: str
    restarts: int = 0
    """How often the job was queued again."""
    run: str = ""
    """The URL of a run in an object store, which every node must reach."""


class Report(Document):
    """What a node's task answers, on its standard output."""

    node: int
    name: str
    problem: str = ""
    """Why it cannot take part; nothing if it can."""


FOLDERS = "/tmp/lr{job}-[0-9]*"
"""Of all nodes of a job, as a shell finds them."""


def folder(job: int, node: int) -> Path:
    """Return the folder of a node's Ray: short, for the paths of its sockets, whatever TMPDIR says."""
    return Path(f"/tmp/lr{job}-{node}")


def object_store(memory: int | None) -> int:
    """Return the bytes of a node's object store."""
    return LEAST_STORE if memory is None else min(MOST_STORE, max(LEAST_STORE, memory // STORE_SHARE))


def ray_start(orders: Orders, share: Share, address: str, block: range) -> list[str]:
    """Return the command that starts a node's part of Ray."""
    head = list(HEAD) if share.node == 0 else [f"--address={orders.address}:{orders.port}"]
    memory = [f"--memory={share.memory}"] if share.memory else []
    return [*RAY, "start", *head, f"--node-ip-address={address}", f"--node-name={share.name}",
            f"--labels={ORDER}={share.node:06d}", f"--num-cpus={share.cores}", f"--num-gpus={share.gpus}", *memory,
            f"--object-store-memory={object_store(share.memory)}",
            f"--temp-dir={folder(orders.job, share.node) / RAYS}", "--disable-usage-stats",
            "--include-log-monitor=false", *options(block, head=share.node == 0)]


def ray_environment(environment: Mapping[str, str], job: int, node: int) -> dict[str, str]:
    """Return the environment of everything that belongs to the job's Ray on a node, the driver too."""
    kept = {name: value for name, value in environment.items() if name not in FOREIGN}
    # Ray starts a Python process for each core ahead of need, and a run needs one actor on a node.
    prestart = {"RAY_enable_worker_prestart": "0", "RAY_prestart_worker_first_driver": "0"}
    return kept | SETTINGS | prestart | authentication(str(folder(job, node) / TOKEN))
