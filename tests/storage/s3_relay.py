"""Between a client and a stand-in of object storage: one write at a time, what was asked, and faults as networks and
servers have them. Speaks as S3 does; `other_relays` has the words of others.
"""

import random
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

SHARE = 0.2
STALL_S = 30.0
"""Longer than any client in a test waits."""
KINDS = ("busy", "broken after", "cut before", "cut after", "stalled", "torn")
"""Told to come later; done, but told that it was not; cut off before and after it was done; silent; half an answer."""
HALFWAY = "cut halfway"
"""Half of what is sent arrives, then `Faults.halfway` is told, and nothing is done."""
SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
DENIED = b"<Error><Code>AccessDenied</Code><Message>planted-message</Message></Error>"
INTERNAL = b"<Error><Code>InternalError</Code><Message>We encountered an internal error.</Message></Error>"
HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "server", "date"}


@dataclass(frozen=True)
class Words:
    """How a service says that it cannot do something."""

    kind: str
    slow_down: bytes
    denied: bytes
    internal: bytes
    headers: tuple[tuple[str, str], ...] = ()
    """Beside its kind; Azure's say what the content says, for answers to HEAD have none."""


S3_WORDS = Words("application/xml", SLOW_DOWN, DENIED, INTERNAL)


@dataclass(frozen=True)
class Asked:
    """One request, as the relay saw it."""

    method: str
    path: str
    range: str
    fault: str | None
    size: int


@dataclass(frozen=True)
class Given:
    """What one request for content was given."""

    path: str
    begin: int
    """The first byte, by the answer; 0 of a whole object."""
    size: int


class Faults:
    """Which requests go wrong, and how: drawn, or as a test says."""

    def __init__(self, seed: int, share: float = SHARE, kinds: tuple[str, ...] = KINDS) -> None:
        self.seed, self.share, self.kinds = seed, share, kinds
        self._random, self._lock = random.Random(seed), threading.Lock()

    def draw(self, method: str, path: str) -> str | None:
        with self._lock:
            return self._random.choice(self.kinds) if self._random.random() < self.share else None

    def halfway(self, path: str) -> None:
        """Do something while an upload is half done."""


class Once(Faults):
    """What goes wrong is said: each fault the first time that its method is asked for a path with a part."""

    def __init__(self, *faults: tuple[str, str, str]) -> None:
        super().__init__(0)
        self.left = list(faults)

    def draw(self, method: str, path: str) -> str | None:
        for fault in self.left:
            if fault[0] == method and fault[1] in path:
                self.left.remove(fault)
                return fault[2]
        return None


class Pace:
    """So many bytes a second, over all connections together."""

    def __init__(self, rate: float) -> None:
        self._rate, self._until, self._lock = rate, 0.0, threading.Lock()

    def wait(self, size: int, asked: float) -> None:
        """Wait until so many bytes would have come that were asked for at some time: what happened since counts."""
        with self._lock:
            self._until = until = max(self._until, asked) + size / self._rate
        time.sleep(max(0.0, until - time.monotonic()))


class Relay(ThreadingHTTPServer):
    """Stands in front of a stand-in, and does what that leaves out."""

    daemon_threads = True
    request_queue_size = 256
    words = S3_WORDS

    def __init__(self, target: str, faults: Faults | None = None, host: str = "127.0.0.1") -> None:
        super().__init__((host, 0), _Relayed)
        self.target, self.faults = urlsplit(target).netloc, faults
        self.asked: list[Asked] = []
        self.given: list[Given] = []
        self.pace: Pace | None = None
        """At which content is given; as fast as can be without."""
        self.writing, self.over = threading.Lock(), threading.Event()
        self.address = f"http://{host}:{self.server_address[1]}"

    def handle_error(self, *_: object) -> None:
        """Say nothing of clients that are gone."""

    def refused(self, method: str, path: str, body: bytes, ask: Callable[[str, str], int]) -> tuple[int, bytes] | None:
        """Return what the service answers where its stand-in would do as it is told. `ask` gives a request's status."""
        return None

    def rephrased(self, path: str, body: bytes, headers: dict[str, str]) -> tuple[str, bytes, dict[str, str]]:
        """Return a request in the words that the stand-in understands best."""
        return path, body, headers

    def count(self, method: str, part: str = "") -> int:
        """Return how many requests of a method there were whose path has a part."""
        return sum(asked.method == method and part in asked.path for asked in self.asked)


class _Relayed(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Relay
    _upstream: HTTPConnection | None = None
    _asked = 0.0

    def setup(self) -> None:
        super().setup()
        self._upstream = HTTPConnection(self.server.target, timeout=60)

    def finish(self) -> None:
        super().finish()
        if self._upstream is not None:
            self._upstream.close()

    def relay(self) -> None:
        faults, size = self.server.faults, int(self.headers.get("Content-Length") or 0)
        self._asked = time.monotonic()
        fault = None if faults is None else faults.draw(self.command, self.path)
        body = self.rfile.read(size // 2 if fault == HALFWAY else size)
        self.server.asked.append(Asked(self.command, self.path, self.headers.get("Range", ""), fault, len(body)))
        if fault == "busy":
            self._say(503, self.server.words.slow_down)
        elif fault == "denied":
            self._say(403, self.server.words.denied)
        elif fault == "unknown":
            self._say(401, b"")
        elif fault == "cut before":
            self._cut()
        elif fault == HALFWAY and faults is not None:
            faults.halfway(self.path)
            self._cut()
        elif fault == "stalled":
            self.server.over.wait(STALL_S)
            self._cut()
        else:
            answer = self._forward(body)
            if isinstance(answer[0], int):
                self._say(*answer)
            else:
                self._done(*answer, fault)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = relay  # noqa: N815

    def _forward(self, body: bytes) -> tuple[HTTPResponse, bytes] | tuple[int, bytes]:
        assert self._upstream is not None
        headers = {name: value for name, value in self.headers.items() if name.lower() not in ("connection", "expect")}
        if self.command == "GET":
            return self._ask(headers, body)
        with self.server.writing:
            # Nobody waits for it any more: done now, it would undo what was written since.
            if self._client_gone():
                raise ConnectionResetError
            if (refused := self.server.refused(self.command, self.path, body, self._status)) is not None:
                return refused
            return self._ask(headers, body)

    def _status(self, method: str, path: str) -> int:
        assert self._upstream is not None
        self._upstream.request(method, path)
        answer = self._upstream.getresponse()
        answer.read()
        return answer.status

    def _client_gone(self) -> bool:
        try:
            return not self.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def _ask(self, headers: dict[str, str], body: bytes) -> tuple[HTTPResponse, bytes]:
        assert self._upstream is not None
        self._upstream.request(self.command, *self.server.rephrased(self.path, body, headers))
        answer = self._upstream.getresponse()
        return answer, answer.read()

    def _done(self, answer: HTTPResponse, content: bytes, fault: str | None) -> None:
        headers = {name: value for name, value in answer.getheaders() if name.lower() not in HOP}
        if self.command == "GET" and answer.status in (200, 206):
            begin = (answer.getheader("Content-Range") or "bytes 0-").removeprefix("bytes ").partition("-")[0]
            self.server.given.append(Given(self.path, int(begin), len(content)))
            if self.server.pace is not None:
                self.server.pace.wait(len(content), self._asked)
        length = answer.getheader("Content-Length", "0") if self.command == "HEAD" else str(len(content))
        if answer.status == 206 and not content:
            self._say(416, b"")  # As all services do: stand-ins give an empty part.
        elif fault == "broken after":
            self._say(500, self.server.words.internal)
        elif fault == "cut after":
            self._cut()
        elif fault == "torn" and content:
            self._answer(answer.status, headers, content[:len(content) // 2], length)
            self._cut()
        else:
            self._answer(answer.status, headers, content, length)

    def _say(self, status: int, content: bytes) -> None:
        self._answer(status, {"Content-Type": self.server.words.kind, **dict(self.server.words.headers)}, content)

    def _answer(self, status: int, headers: dict[str, str], content: bytes, length: str | None = None) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", length or str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _cut(self) -> None:
        """Reset the connection, as a machine that is gone does."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass
