"""Asking the metadata service of the cloud that a machine is in whether the machine will be taken away.

Decides which addresses are asked, with which headers, how often and how long; what answers mean is `core.spot_answers`.
Never through a proxy, which would answer for itself or ask about its own machine, and never on to where an answer
redirects, since the request may bear a token.

Addresses, headers and rates as documented. AWS: the page of `core.spot_answers` (every 5 seconds) and
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html (IMDSv2's token). Google
Cloud: https://cloud.google.com/compute/docs/metadata/querying-metadata (waiting for a change). Azure:
https://learn.microsoft.com/azure/virtual-machines/linux/scheduled-events (once per second) and
.../instance-metadata-service (the machine's name).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage
from typing import IO, Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

from launcher.core import spot_answers
from launcher.core.spot_notice import NotTold, Said

URL = "LAUNCHER_SPOT_URL"
"""In a node's environment: where its metadata service is asked instead. For tests and drills."""
TIMEOUT_S = 2.0
"""For an answer that a service gives at once, as all of them do within milliseconds."""
MOST_BYTES = 2**16
TOKEN_S = 21600
"""How long AWS's token holds, the longest there is."""
GCP_WAIT_S = 5
"""How long Google's service holds a question back where nothing changes: the other question waits as long."""


class Unanswered(NotTold):
    """The service did not answer, or not with what was asked for."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Answer:
    """A body and the mark of its version."""

    text: str
    etag: str


class _Nowhere(HTTPRedirectHandler):
    """Takes a redirection for the error that it is here."""

    def redirect_request(self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage,
                         newurl: str) -> None:
        """Go nowhere."""


class Http:
    """Plain requests to one machine-local service."""

    def __init__(self, base: str, timeout_s: float = TIMEOUT_S) -> None:
        self._base, self._timeout_s = base.rstrip("/"), timeout_s
        self._opener = build_opener(ProxyHandler({}), _Nowhere)

    def ask(self, path: str, headers: Mapping[str, str], *, method: str = "GET", holds_s: float = 0.0) -> Answer:
        """Return the answer to a request, which the service may hold back so long. Raises Unanswered for any but a
        success."""
        request = Request(f"{self._base}/{path}", method=method, headers=dict(headers))
        try:
            with self._opener.open(request, timeout=self._timeout_s + holds_s) as answer:
                text = answer.read(MOST_BYTES).decode("utf-8", "replace")
                return Answer(text, answer.headers.get("ETag", ""))
        except HTTPError as error:
            error.close()
            raise Unanswered(f"HTTP {error.code} to {method} {path.partition('?')[0]}", error.code) from error
        except (OSError, HTTPException, ValueError) as error:
            raise Unanswered(f"{error} at {method} {path.partition('?')[0]}") from error


class Aws:
    """The instance metadata service of EC2, version 2, which asks for a token."""

    every_s, settles_s = 5.0, 10.0

    def __init__(self, base: str = "http://169.254.169.254", timeout_s: float = TIMEOUT_S) -> None:
        self._http = Http(base, timeout_s)
        self._token = ""

    def ask(self, now: float) -> Said:
        """Return what it says now. Raises NotTold."""
        said = spot_answers.aws_action(self._item("spot/instance-action"), now)
        if said.leaving is not None:
            return said  # Whatever else there is to ask must not stand in the way.
        advice = spot_answers.aws_rebalance(self._item("events/recommendations/rebalance"))
        return said.model_copy(update={"notes": (*said.notes, *advice)})

    def _item(self, name: str) -> str | None:
        """Return an item of the metadata, or None where there is none."""
        fresh = not self._token
        if fresh:
            self._token = self._new_token()
        try:
            return self._http.ask(f"latest/meta-data/{name}", {"X-aws-ec2-metadata-token": self._token}).text
        except Unanswered as error:
            if error.status == 404:
                return None
            self._token = ""
            if error.status != 401 or fresh:
                raise
        return self._item(name)  # The token had run out.

    def _new_token(self) -> str:
        lasting = {"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_S)}
        try:
            return self._http.ask("latest/api/token", lasting, method="PUT").text
        except Unanswered as error:
            hint = "from a container, the instance's metadata hop limit has to be 2"
            raise Unanswered(f"no token: {error} ({hint})", error.status) from error


class Gcp:
    """The metadata server of Compute Engine."""

    every_s, settles_s = 1.0, 10.0

    def __init__(self, base: str = "http://metadata.google.internal", timeout_s: float = TIMEOUT_S) -> None:
        self._http = Http(base, timeout_s)
        self._seen = ""

    def ask(self, now: float) -> Said:
        """Return what it says, once that has changed or a moment has passed. Raises NotTold."""
        etag, self._seen = self._seen, ""
        preempted = self._value("preempted", etag)
        said = spot_answers.gcp_preempted(preempted.text, now)
        if said.leaving is None:
            said = spot_answers.gcp_maintenance(self._value("maintenance-event").text, now)
        self._seen = preempted.etag  # From here on it may be waited with.
        return said

    def _value(self, name: str, etag: str = "") -> Answer:
        wait = f"?wait_for_change=true&last_etag={quote(etag)}&timeout_sec={GCP_WAIT_S}" if etag else ""
        return self._http.ask(f"computeMetadata/v1/instance/{name}{wait}", {"Metadata-Flavor": "Google"},
                              holds_s=GCP_WAIT_S if etag else 0.0)


class Azure:
    """The scheduled events of Azure. Nothing is ever acknowledged: that would have the machine taken earlier."""

    # The first request of a machine switches the service on, which takes up to two minutes.
    every_s, settles_s = 1.0, 150.0

    def __init__(self, base: str = "http://169.254.169.254", timeout_s: float = TIMEOUT_S) -> None:
        self._http = Http(base, timeout_s)
        self._name = ""

    def ask(self, now: float) -> Said:
        """Return what it says now. Raises NotTold."""
        if not self._name:
            self._name = self._get("instance/compute/name?api-version=2021-02-01&format=text").strip()
        return spot_answers.azure(self._get("scheduledevents?api-version=2020-07-01"), self._name, now)

    def _get(self, path: str) -> str:
        return self._http.ask(f"metadata/{path}", {"Metadata": "true"}).text


CLOUDS: Mapping[str, type[Aws | Gcp | Azure]] = {"aws": Aws, "gcp": Gcp, "azure": Azure}


def service_of(cloud: str, environment: Mapping[str, str]) -> Aws | Gcp | Azure:
    """Return a cloud's service, at the address that the environment gives if it does."""
    address: dict[str, Any] = {"base": environment[URL]} if environment.get(URL) else {}
    return CLOUDS[cloud](**address)
