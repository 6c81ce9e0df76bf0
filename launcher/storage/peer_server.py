"""What a node keeps of checkpoints, served to the other nodes of its run: from its disk, and from its memory.

    GET  /copies                              [[attempt, step, name, bytes], ...] of what this node wrote itself
    POST /copies/3/1200/rank-000.bin          the bytes of the spans in the body, [[offset, length], ...], in order

Decides who is answered: whoever has the token of this server, which is made anew for each; workers are told it in
their orders alone, in the node's private mailbox. What is served may be stale or damaged; readers compare it with a
manifest's digests.
"""

import hmac
import json
import os
import secrets
import socket
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from launcher.core.peer_copies import Kept, Peer
from launcher.storage.store import Span

MOST_ASKED = 64 << 20
"""Bytes of a question."""
IDLE_S = 600.0
"""For a reader that is silent, or takes nothing: it reads from others meanwhile, or is gone."""


class PeerServer(ThreadingHTTPServer):
    """Serves until it is closed."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, address: str, listed: Callable[[], Mapping[Kept, int]], opened: Callable[[Kept], int]) -> None:
        """Listen at an address of this node; `opened` returns a descriptor, which is closed here. Raises KeyError."""
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        super().__init__((address, 0), _Asked)
        self.listed, self.opened = listed, opened
        self.peer = Peer(address=address, port=self.server_address[1], token=secrets.token_hex(32))
        threading.Thread(target=self.serve_forever, args=(0.1,), name="copies", daemon=True).start()

    def close(self) -> None:
        """Answer nobody any more."""
        self.shutdown()
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of readers that are gone."""


class _Asked(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = IDLE_S
    server: PeerServer  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_GET(self) -> None:
        """Tell what this node wrote."""
        if self._refused():
            return
        found = [[*kept, size] for kept, size in self.server.listed().items()]
        text = json.dumps(found).encode()
        self._begin(HTTPStatus.OK, len(text))
        self.wfile.write(text)

    def do_POST(self) -> None:
        """Send spans of a file."""
        if self._refused():
            return
        try:
            spans = self._spans()
            descriptor = self.server.opened(_kept(self.path))
        except (KeyError, ValueError, TypeError, OSError):
            self._begin(HTTPStatus.NOT_FOUND, 0)
            return
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            size = os.fstat(descriptor).st_size
            spans = [(offset, min(length, size - offset)) for offset, length in spans if 0 <= offset < size]
            self._begin(HTTPStatus.OK, sum(length for _, length in spans))
            for offset, length in spans:
                if length:
                    self.connection.sendfile(file, offset, length)  # by the kernel: none of it passes through here

    def _refused(self) -> bool:
        told = self.headers.get("Authorization", "")
        # Compared in constant time, or the time that it takes would tell the token bit by bit.
        if hmac.compare_digest(told.encode(), f"Bearer {self.server.peer.token}".encode()):
            return False
        self._begin(HTTPStatus.UNAUTHORIZED, 0)
        self.close_connection = True
        return True

    def _spans(self) -> list[Span]:
        size = int(self.headers.get("Content-Length") or 0)
        if not 0 <= size <= MOST_ASKED:
            self.close_connection = True
            raise ValueError("too long a question")
        asked: Any = json.loads(self.rfile.read(size))
        return [(int(offset), int(length)) for offset, length in asked if int(length) >= 0]

    def _begin(self, status: HTTPStatus, size: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(size))
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the caller tells what went wrong."""


def _kept(path: str) -> Kept:
    """Return which file a path asks for. Raises ValueError."""
    copies, attempt, step, name = path.removeprefix("/").split("/")
    if copies != "copies":
        raise ValueError(path)
    return Kept(int(attempt), int(step), name)
