"""What Google's and Azure's services say and their stand-ins leave out, told by the relay between.

Google: gcp-storage-emulator heeds no precondition. `ifGenerationMatch=0` is documented to make a request succeed only
if there is no live object, else to be answered with 412; here at the beginning of a resumable upload and at its end.
"""

import json
from collections.abc import Callable
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from tests.storage.s3_relay import Relay, Words


def _google_error(status: int, reason: str, message: str) -> bytes:
    return json.dumps({"error": {"code": status, "message": message, "errors": [
        {"domain": "global", "reason": reason, "message": message}]}}).encode()


class GoogleRelay(Relay):
    """Stands in front of gcp-storage-emulator."""

    words = Words("application/json", _google_error(503, "backendError", "Backend Error"),
                  _google_error(403, "forbidden", "planted-message"), _google_error(500, "internalError", "Internal"))

    def refused(self, method: str, path: str, body: bytes, ask: Callable[[str, str], int]) -> tuple[int, bytes] | None:
        """Return what Google says to a put only where there is nothing, where there is something."""
        where, query = urlsplit(path).path, parse_qs(urlsplit(path).query)
        if query.get("ifGenerationMatch") != ["0"]:
            return None
        name = query["name"][0] if "name" in query else json.loads(_parts(body)[0])["name"]
        there = ask("GET", f"{where.removeprefix('/upload')}/{quote(name, safe='')}") == 200
        return (412, _google_error(412, "conditionNotMet", "At least one of the pre-conditions you specified did not "
                                   "hold.")) if there else None

    def rephrased(self, path: str, body: bytes, headers: dict[str, str]) -> tuple[str, bytes, dict[str, str]]:
        """Return an upload in two parts as one of content alone: the stand-in reads parts as mail, which ends lines."""
        where, query = urlsplit(path).path, parse_qs(urlsplit(path).query)
        if query.get("uploadType") != ["multipart"] or not (content := _parts(body)[1]):
            return path, body, headers
        said = {**headers, "Content-Type": "application/octet-stream", "Content-Length": str(len(content))}
        named = {"uploadType": "media", "name": json.loads(_parts(body)[0])["name"]}
        return f"{where}?{urlencode(named)}", content, said


def _parts(body: bytes) -> tuple[bytes, bytes]:
    """Return the two parts of gcsfs's uploads: what the object is called, and its content."""
    _, described, rest = body.split(b"\n\n", 2)
    return described.rpartition(b"\n--")[0], rest.rpartition(b"\n--")[0]


class AzureRelay(Relay):
    """Stands in front of Azurite."""

    words = Words("application/xml", b"<Error><Code>ServerBusy</Code></Error>",
                  b"<Error><Code>AuthorizationFailure</Code><Message>planted-message</Message></Error>",
                  b"<Error><Code>InternalError</Code></Error>")
