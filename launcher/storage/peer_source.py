"""Reading what another node of the run keeps of a checkpoint, over the network, and giving up early.

Decides how long a peer is waited for. One that fails once, or is slower than a store would be, is not asked again by
this process: every file would wait as long, and the store has everything.
"""

import json
import logging
import time
from collections.abc import Iterable, Iterator
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any

from launcher.core.peer_copies import Holding, Kept, Peer
from launcher.storage.checkpoint_medium import attempt_of
from launcher.storage.sources import AT_ONCE, together
from launcher.storage.store import Span

log = logging.getLogger(__name__)

CONNECT_S = 2.0
SILENT_S = 5.0
"""Without a byte."""
SLOWEST = 5e6
"""Bytes a second, below which a peer is given up, however regularly it sends."""
PIECE = 1 << 20


class PeerLost(OSError):
    """A peer does not answer, or not as it should."""


class PeerLink:
    """A connection to one peer, for one thread."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._connection: HTTPConnection | None = None
        self.lost = False
        """It is not asked any more."""

    def listing(self) -> dict[Kept, int]:
        """Return the files that the peer's node wrote, and their sizes. Raises OSError."""
        found: Any = json.loads(self._ask("GET", "/copies", b""))
        return {Kept(attempt, step, name): size for attempt, step, name, size in found}

    def read(self, kept: Kept, spans: list[Span]) -> Iterator[bytes]:
        """Yield spans of a file. Raises OSError."""
        content = memoryview(self._ask("POST", f"/copies/{kept.attempt}/{kept.step}/{kept.name}",
                                       json.dumps(spans).encode()))
        for _, length in spans:
            yield bytes(content[:length])
            content = content[length:]

    def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _ask(self, method: str, path: str, body: bytes) -> bytearray:
        if self.lost:
            raise PeerLost(f"{self._peer.address} was given up before")
        try:
            answer = self._answer(method, path, body)
            if answer.status == 404:
                answer.read()
                raise FileNotFoundError(0, "not there any more", path)
            if answer.status != 200:
                raise PeerLost(f"{self._peer.address} answers {answer.status}")
            return _content(answer)
        except FileNotFoundError:
            raise
        except (OSError, HTTPException, ValueError) as error:
            self.lost = True
            self.close()
            log.warning("%s is not asked for copies any more: %s", self._peer.address, error)
            raise PeerLost(str(error)) from error

    def _answer(self, method: str, path: str, body: bytes) -> HTTPResponse:
        if self._connection is None:
            self._connection = HTTPConnection(self._peer.address, self._peer.port, timeout=CONNECT_S)
            self._connection.connect()
            self._connection.sock.settimeout(SILENT_S)
        self._connection.request(method, path, body, {"Authorization": f"Bearer {self._peer.token}"})
        return self._connection.getresponse()


def _content(answer: HTTPResponse) -> bytearray:
    """Return what an answer holds. Raises OSError if it comes too slowly, or breaks off."""
    content = bytearray(answer.length or 0)
    view, begun = memoryview(content), time.monotonic()
    while len(view):
        # What is there, and not until a piece is full: a peer that sends a byte now and then would hold it for ever.
        got = answer.read1(min(PIECE, len(view)))
        view[:len(got)] = got
        view = view[len(got):]
        if not got:
            raise PeerLost("the answer broke off")
        if time.monotonic() - begun > SILENT_S + (len(content) - len(view)) / SLOWEST:
            raise PeerLost("the answer comes too slowly")
    answer.read()  # the end: without it the connection takes no other question
    return content


class PeerSource:
    """One file as a peer has it: a `Source`."""

    def __init__(self, link: PeerLink, kept: Kept, size: int) -> None:
        self._link, self._kept, self._size = link, kept, size

    @property
    def name(self) -> str:
        """Return the file's own name."""
        return self._kept.name

    def size(self) -> int:
        """Return its size in bytes, as it was told."""
        return self._size

    def read(self, spans: Iterable[Span]) -> Iterator[bytes]:
        """Yield what each span holds; several are asked for at once."""
        for some in together(spans, AT_ONCE):
            yield from self._link.read(self._kept, some)

    def __str__(self) -> str:
        """Return what it is, for messages."""
        return f"{self._kept.name} of a peer"


class Peers:
    """What all peers have, for one thread."""

    def __init__(self, holdings: Iterable[Holding]) -> None:
        self._links = [(PeerLink(holding.peer), holding) for holding in holdings]

    def find(self, step: int, name: str) -> Iterator[PeerSource]:
        """Return the copies of a file of a step, by its name in the store; those of lost peers are left out."""
        for link, holding in self._links:
            if holding.step == step and name in holding.files and not link.lost:
                kept = Kept(attempt_of(name), step, name.partition("-")[2])
                yield PeerSource(link, kept, holding.files[name])
