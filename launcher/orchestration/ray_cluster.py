"""Ray itself: a private cluster for one run, or a connection to one that is there.

Decides the settings of the private cluster, and never touches another Ray on the machine: addresses are explicit, the
temporary folder is the run's own, and nothing is ended by name.
"""

import faulthandler
import logging
import os
import secrets
import socket
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

from launcher.core.attempt import Node
from launcher.core.errors import PlatformError
from launcher.core.ray_settings import FOREIGN, ORDER, SETTINGS, authentication
from launcher.orchestration.ray_address import require_answer

FOLDER = "r"
"""Of a private cluster, in the scratch folder: one letter, for the sake of socket paths."""
PROCESSES = "ray.json"
"""Those of a private cluster, in the scratch folder: what is ended if the controller dies without ending them."""
SOCKET_PATH_LIMIT = 107
_SOCKET_TAIL = len("/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store.log")
OBJECT_STORE_BYTES = 80 * 2**20
"""Nearly the smallest Ray takes: only letters and events travel through it."""
PLACEMENT_TIMEOUT_S = 120.0
CONNECT_S = 30.0
CALL_S = 10.0
"""For a question to the cluster's head."""
KNOCK_S, KNOCKS_AT_ONCE = 5.0, 32
"""For a node to take a connection, as it must to be given anything."""
CPU_SLOTS = 2
"""Workers on a node without a GPU, unless more are asked for; one where Ray counts one CPU, as in a job of Slurm that
asked for no more."""


def prepare_private(folder: Path) -> None:
    """Set what a private cluster in a new folder needs. Call before ray is imported: its core reads it only then."""
    if len(str(folder)) + _SOCKET_TAIL > SOCKET_PATH_LIMIT:
        raise PlatformError(f"{folder}: too long for the paths of Ray's sockets ({SOCKET_PATH_LIMIT} bytes); "
                            "set TMPDIR to a shorter path")
    folder.mkdir(mode=0o700, parents=True)
    for name in FOREIGN:
        os.environ.pop(name, None)
    token = folder / "token"
    token.touch(mode=0o600)
    token.write_text(secrets.token_hex(32))
    os.environ.update(SETTINGS | authentication(str(token)))


def start_private(folder: Path) -> None:
    """Start a cluster of one node for this run alone and connect to it. Raises PlatformError.

    It counts one CPU, the agent's: Ray starts a Python process per CPU ahead of need, and places nothing else here.
    """
    _init(address="local", num_cpus=1, num_gpus=0, include_dashboard=False, _temp_dir=str(folder),
          object_store_memory=OBJECT_STORE_BYTES)


def connect(address: str) -> None:
    """Connect to an existing cluster by its explicit address. Raises PlatformError."""
    require_answer(address)
    os.environ["RAY_ADDRESS"] = address
    # What listens there may be no Ray, and then Ray's core may hang in its own exit: nothing in Python ends that.
    faulthandler.dump_traceback_later(CONNECT_S, exit=True)
    try:
        _init(address=address)
    finally:
        faulthandler.cancel_dump_traceback_later()


def live_nodes() -> dict[str, Node]:
    """Return the live nodes of the connected cluster by Ray's ids, in their order, else that of their addresses; those
    that will be taken away are not among them. Raises RayError or an RPC error when the cluster does not answer."""
    import ray

    leaving = draining()
    # A head is often started with no CPU, to keep work off it; an agent takes at least one.
    found = [node for node in ray.nodes()
             if node["Alive"] and node["NodeID"] not in leaving and node["Resources"].get("CPU", 0) >= 1]
    names = Counter(_name(node) for node in found)
    described = {node["NodeID"]: _node(node, alone=names[_name(node)] == 1) for node in found}
    order = {node["NodeID"]: node.get("Labels", {}).get(ORDER, "") for node in found}
    return dict(sorted(described.items(), key=lambda item: (order[item[0]], item[1].address, item[1].name)))


def draining() -> dict[str, float | None]:
    """Return the nodes that will be taken away, by Ray's ids, with the deadline in UTC seconds where there is one."""
    # No public call tells this before the node is gone (Ray 2.57 to 2.60); a contract test holds us to it.
    client: Any = import_module("ray._private.worker").global_worker.gcs_client
    found: dict[str, int] = client.get_draining_nodes(timeout=CALL_S)
    return {node: deadline / 1000 if deadline else None for node, deadline in found.items()}


def silent() -> set[str]:
    """Return the nodes that count as live and whose raylet nobody can reach: Ray itself takes up to a minute to notice.
    """
    import ray

    doors = {node["NodeID"]: (node["NodeManagerAddress"], node["NodeManagerPort"])
             for node in ray.nodes() if node["Alive"]}
    with ThreadPoolExecutor(KNOCKS_AT_ONCE) as pool:
        answers = dict(zip(doors, pool.map(_opens, doors.values()), strict=True))
    return {key for key, answer in answers.items() if not answer}


def _opens(door: tuple[str, int]) -> bool:
    try:
        socket.create_connection(door, KNOCK_S).close()
    except OSError:
        return False
    return True


def free() -> dict[str, dict[str, float]]:
    """Return what nobody holds of each node, by Ray's ids, as it was a moment ago."""
    state: Any = import_module("ray._private.state")
    found: dict[str, dict[str, float]] = state.available_resources_per_node()
    return found


def diagnosis(bundles: Sequence[Mapping[str, float]], waited_s: float) -> str:
    """Return why the nodes could not be had: what is needed against what is there and free."""
    import ray

    needed = f"{len(bundles)} node{'s' * (len(bundles) > 1)} with {_amounts(bundles[0])} each"
    total, free = ray.cluster_resources(), ray.available_resources()
    there = "; ".join(f"{node['NodeManagerAddress']}: {_amounts(node['Resources'])}"
                      for node in ray.nodes() if node["Alive"]) or "no live node"
    return (f"the cluster did not give what the run needs within {waited_s:.0f} s. Needed: {needed}. "
            f"There: {there} (in all {_amounts(total)}, free {_amounts(free)}). Ask for fewer nodes or workers, "
            "or free what others hold: `ray status` shows it.")


def disconnect() -> None:
    """Leave the cluster; a private one ends."""
    import ray

    ray.shutdown()


def _init(**settings: Any) -> None:
    import ray

    try:
        ray.init(log_to_driver=False, configure_logging=False, logging_level=logging.ERROR, **settings)
    except Exception as error:
        raise PlatformError(f"Ray did not start: {type(error).__name__}: {error}") from error


def _name(found: dict[str, Any]) -> str:
    """Return what people call a node: what it was started as, else its host."""
    own = found.get("NodeName")
    host = found.get("NodeManagerHostname")
    return own if own and own != found["NodeManagerAddress"] else host or found["NodeManagerAddress"]


def _node(found: dict[str, Any], *, alone: bool) -> Node:
    resources = found["Resources"]
    gpus, cores = int(resources.get("GPU", 0)), max(1, int(resources.get("CPU", 1)))
    # Two nodes of one host have one name: faults are counted by name, so they get different ones.
    name = _name(found) if alone else f"{_name(found)}-{found['NodeID'][:6]}"
    return Node(name=name,
                address=found["NodeManagerAddress"], slots=gpus or min(CPU_SLOTS, cores), gpus=gpus, cores=cores,
                memory=int(resources.get("memory", 0)))


def _amounts(resources: Mapping[str, float]) -> str:
    shown = {name: amount for name, amount in resources.items() if name in ("CPU", "GPU")}
    return ", ".join(f"{amount:g} {name}" for name, amount in sorted(shown.items())) or "no CPU or GPU"
