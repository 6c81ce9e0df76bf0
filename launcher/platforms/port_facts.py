"""Whether the machines of a job reach each other's ports: each listens on some, and tries those of others.

Decides which ports stand for all, and who tries whom where there are many.
"""

import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from launcher.core.document import Document
from launcher.core.site_facts import Way

CONNECT_S = 5.0
"""A firewall that drops packets answers nothing."""
ALL_PAIRS = 8
"""Up to so many nodes everyone tries everyone."""


class Door(Document):
    """Where a machine listens: ports of its block and one that the kernel chose."""

    name: str
    address: str
    block: tuple[int, ...]
    any: int


class Listeners:
    """Open ports; whoever connects is not answered, since the kernel takes connections by itself."""

    def __init__(self) -> None:
        self._open: list[socket.socket] = []

    def door(self, name: str, address: str, block: range) -> Door:
        """Listen on the first and the last port of a block, and on one that the kernel chooses."""
        ports = [self._listen(port) for port in (block[0], block[-1], 0)]
        return Door(name=name, address=address, block=tuple(ports[:2]), any=ports[2])

    def close(self) -> None:
        """Stop listening, so that the ports are free for what is measured next."""
        for each in self._open:
            each.close()
        self._open = []

    def _listen(self, port: int) -> int:
        self._open.append(socket.create_server(("", port)))
        return int(self._open[-1].getsockname()[1])


def to_try(name: str, doors: Sequence[Door]) -> list[Door]:
    """Return whom a machine tries: all others, or where there are many the first one and its neighbours. Pure."""
    names = [door.name for door in doors]
    if len(doors) <= ALL_PAIRS:
        return [door for door in doors if door.name != name]
    mine = names.index(name)
    wanted = {0, (mine + 1) % len(doors), (mine - 1) % len(doors)} - {mine}
    return [doors[number] for number in sorted(wanted)]


def ways(name: str, doors: Sequence[Door]) -> tuple[Way, ...]:
    """Try to connect to others' doors; return what came of it."""
    tries = [(door, port) for door in to_try(name, doors) for port in (*door.block, door.any)]
    with ThreadPoolExecutor(max_workers=max(1, len(tries))) as threads:
        return tuple(threads.map(lambda each: _way(*each), tries))


def _way(door: Door, port: int) -> Way:
    problem = ""
    try:
        socket.create_connection((door.address, port), timeout=CONNECT_S).close()
    except TimeoutError:
        problem = f"no answer within {CONNECT_S:.0f} s"
    except OSError as error:
        problem = error.strerror or str(error)
    return Way(to=door.name, port=port, kind="any" if port == door.any else "block", problem=problem)
