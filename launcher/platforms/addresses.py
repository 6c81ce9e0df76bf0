"""Under which address other nodes reach this one: found from the way to a peer, never from a name of an interface.

A machine's own name often stands for a loopback address, and a machine in two networks has two addresses: the kernel
knows which one it would use towards a peer.
"""

import socket
from collections.abc import Iterable, Sequence

from launcher.core.errors import PlatformError

ANY_PORT = 9
"""Nothing is sent: connecting a datagram socket only chooses the way."""
SILENT_S = 5.0
"""For an answer of a machine in the same network."""


def towards(peer: str) -> str:
    """Return this machine's address as a peer sees it. Raises PlatformError if there is no way to it."""
    try:
        ways = socket.getaddrinfo(peer, ANY_PORT, type=socket.SOCK_DGRAM)
        # IPv4 wherever there is one: `host:port`, as Ray takes it, has no place for the other kind's colons.
        family, kind, protocol, _, target = min(ways, key=lambda way: way[0] != socket.AF_INET)
        with socket.socket(family, kind, protocol) as way:
            way.connect(target)
            return str(way.getsockname()[0])
    except OSError as error:
        raise PlatformError(f"{peer}: {error.strerror or error}; nodes of one job must know each other's names and "
                            f"reach each other (`getent hosts {peer}`)") from None


def silent(peers: Iterable[str]) -> list[str]:
    """Return which machines seem to be gone: one that is up takes or refuses a connection."""
    return [peer for peer in peers if not _is_up(peer)]


def _is_up(peer: str) -> bool:
    try:
        socket.create_connection((peer, ANY_PORT), SILENT_S).close()
    except (ConnectionRefusedError, socket.gaierror):  # Of a name that nobody knows, nothing is known.
        return True
    except OSError:
        return False
    return True


def head_address(names: Sequence[str]) -> str:
    """Return the address of this machine, the first of some nodes, under which the others reach it."""
    return towards(names[1] if len(names) > 1 else names[0])
