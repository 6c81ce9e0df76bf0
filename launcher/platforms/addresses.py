"""Under which address other nodes reach this one: found from the way to a peer, never from a name of an interface.

A machine's own name often stands for a loopback address, and a machine in two networks has two addresses: the kernel
knows which one it would use towards a peer.
"""

import socket
from collections.abc import Sequence

from launcher.core.errors import PlatformError

ANY_PORT = 9
"""Nothing is sent: connecting a datagram socket only chooses the way."""


def towards(peer: str) -> str:
    """Return this machine's address as a peer sees it. Raises PlatformError if there is no way to it."""
    try:
        family, kind, protocol, _, target = socket.getaddrinfo(peer, ANY_PORT, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, protocol) as way:
            way.connect(target)
            return str(way.getsockname()[0])
    except OSError as error:
        raise PlatformError(f"{peer}: {error.strerror or error}; nodes of one job must know each other's names and "
                            f"reach each other (`getent hosts {peer}`)") from None


def head_address(names: Sequence[str]) -> str:
    """Return the address of this machine, the first of some nodes, under which the others reach it."""
    return towards(names[1] if len(names) > 1 else names[0])
