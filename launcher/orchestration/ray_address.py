"""The address of somebody else's Ray: whether it can be one, and whether anything answers there.

Both are asked before anything is started. Ray itself would try for long, and where nobody answers its core ends the
process, or leaves it hanging.
"""

import socket

from launcher.core.errors import PlatformError, UserError

ANSWER_S = 10.0


def parse_address(address: str) -> tuple[str, int]:
    """Return host and port. Raises UserError for what is no address of a cluster's head."""
    host, colon, port = address.rpartition(":")
    if address == "auto":
        raise UserError("--address auto would take whatever Ray runs on this machine; give HOST:PORT")
    if "://" in address:
        raise UserError(f"--address {address}: launcher joins the cluster itself and not by Ray's client; give the "
                        "head's HOST:PORT, for example 10.0.0.1:6379")
    if not (host and colon and port.isascii() and port.isdigit() and 0 < int(port) < 2**16):
        raise UserError(f"--address {address}: write it as HOST:PORT, for example 10.0.0.1:6379")
    return host.strip("[]"), int(port)


def require_answer(address: str, timeout_s: float = ANSWER_S) -> None:
    """Raise PlatformError unless something listens at the address."""
    try:
        socket.create_connection(parse_address(address), timeout_s).close()
    except OSError as error:
        reason = "no answer" if isinstance(error, TimeoutError) else error.strerror or str(error)
        raise PlatformError(f"--address {address}: {reason}. Is that the head of a running Ray cluster, and may this "
                            f"machine reach it? `ray status --address {address}` tells.") from error
