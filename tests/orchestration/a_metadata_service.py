"""A stand-in for the metadata services of AWS, Google Cloud and Azure, as they are documented, for many machines.

Each machine has an address of its own, `url(name)`; what the cloud says of it is set at any time. The three services
differ in their paths, so one machine can be asked as each of them.
"""

import json
import threading
import time
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

HANG_S = 20.0


@dataclass
class Machine:
    """What the cloud says of one machine, and what was asked of it."""

    name: str
    action: dict[str, Any] | None = None
    """AWS: the item spot/instance-action."""
    rebalance: dict[str, Any] | None = None
    preempted: str = "FALSE"
    """Google Cloud."""
    maintenance: str = "NONE"
    events: list[dict[str, Any]] = field(default_factory=list)
    """Azure: of this machine and its neighbours."""
    broken: str = ""
    """hang, malformed, redirects, refused (tokens) or an HTTP status; empty: well."""
    tokens: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def announce(self, kind: str, in_s: float, **more: Any) -> None:
        """Let Azure announce an event of this machine."""
        self.events.append({"EventId": f"{self.name}-{len(self.events)}", "EventType": kind, "EventStatus": "Scheduled",
                            "ResourceType": "VirtualMachine", "Resources": [self.name],
                            "NotBefore": formatdate(time.time() + in_s, usegmt=True), **more})


class AMetadataService:
    """The stand-in, as a context."""

    def __init__(self) -> None:
        self.machines: dict[str, Machine] = {}
        self.closed = threading.Event()

    def __enter__(self) -> Self:
        outer = self

        class Answers(_Answers):
            stand_in = outer

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self._server.daemon_threads, self._server.block_on_close = True, False
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closed.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def base(self) -> str:
        """Return the address of them all, to which /NAME is added."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def machine(self, name: str) -> Machine:
        """Return a machine, a new one if there is none with this name."""
        return self.machines.setdefault(name, Machine(name))

    def url(self, name: str) -> str:
        """Return where a machine's service answers."""
        self.machine(name)
        return f"{self.base}/{name}"


class _Answers(BaseHTTPRequestHandler):
    stand_in: AMetadataService
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def _answer(self) -> None:
        parts = urlsplit(self.path)
        _, name, path = parts.path.split("/", 2)
        machine = self.stand_in.machine(name)
        machine.asked.append(f"{self.command} {path}")
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        if machine.broken == "hang":
            self.stand_in.closed.wait(HANG_S)
        elif machine.broken == "malformed":
            self._say(200, "<html>nothing of the kind</html>")
        elif machine.broken == "redirects":
            self._say(302, "", Location=self.path.replace(f"/{name}/", "/elsewhere/", 1))
        elif machine.broken.isdigit():
            self._say(int(machine.broken), "broken")
        elif path.startswith("latest/"):
            self._aws(machine, path.removeprefix("latest/"))
        elif path.startswith("computeMetadata/v1/instance/"):
            self._gcp(machine, path.removeprefix("computeMetadata/v1/instance/"), query)
        else:
            self._azure(machine, path, query)

    def _aws(self, machine: Machine, path: str) -> None:
        items = {"meta-data/spot/instance-action": machine.action,
                 "meta-data/events/recommendations/rebalance": machine.rebalance}
        if self.command == "PUT" and path == "api/token":
            if machine.broken == "refused":
                return self._say(403, "Forbidden")
            if not self.headers.get("X-aws-ec2-metadata-token-ttl-seconds", "").isdigit():
                return self._say(400, "Bad Request")
            machine.tokens.append(f"token-{len(machine.asked)}")
            return self._say(200, machine.tokens[-1])
        if self.headers.get("X-aws-ec2-metadata-token") not in machine.tokens:
            return self._say(401, "Unauthorized")
        item = items.get(path)
        return self._say(404, "Not Found") if item is None else self._say(200, json.dumps(item))

    def _gcp(self, machine: Machine, path: str, query: dict[str, str]) -> None:
        if self.headers.get("Metadata-Flavor") != "Google":
            return self._say(403, "Missing required header Metadata-Flavor")

        def value() -> str:
            return machine.preempted if path == "preempted" else machine.maintenance

        until = time.monotonic() + float(query.get("timeout_sec", "0"))
        if query.get("wait_for_change") == "true":
            while value() == query.get("last_etag") and time.monotonic() < until:
                self.stand_in.closed.wait(0.02)
        return self._say(200, value(), ETag=value())

    def _azure(self, machine: Machine, path: str, query: dict[str, str]) -> None:
        if self.headers.get("Metadata") != "true" or "api-version" not in query:
            return self._say(400, "Bad Request")
        if path == "metadata/instance/compute/name" and query.get("format") == "text":
            return self._say(200, machine.name)
        if path == "metadata/scheduledevents":
            return self._say(200, json.dumps({"DocumentIncarnation": len(machine.events), "Events": machine.events}))
        return self._say(404, "Not Found")

    def _say(self, status: int, text: str, **headers: str) -> None:
        body = text.encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
