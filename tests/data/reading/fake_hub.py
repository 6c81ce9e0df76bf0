"""As much of the Hugging Face hub as fetching a dataset asks for: one dataset, at one commit or another."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

OWNER_AND_NAME = "owner/sums"


class FakeHub:
    """Holds a dataset's files by commit, and which commit is the newest."""

    def __init__(self) -> None:
        self.commits: dict[str, dict[str, bytes]] = {}
        self.main = ""
        self.asked: list[str] = []

    def commit(self, files: dict[str, bytes]) -> str:
        """Add a commit to main and return it."""
        self.main = hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()
        self.commits[self.main] = files
        return self.main

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body for a path."""
        self.asked.append(path)
        api, resolve = f"/api/datasets/{OWNER_AND_NAME}", f"/datasets/{OWNER_AND_NAME}/resolve/"
        if path == api or path.startswith(f"{api}/"):
            return self._api(path.removeprefix(api).strip("/").split("/"))
        if path.startswith(resolve):
            revision, _, name = path.removeprefix(resolve).partition("/")
            return self._file(revision, name)
        return _error(401, "RepoNotFound")

    def _api(self, parts: list[str]) -> tuple[int, dict[str, str], bytes]:
        commit = self._resolved(parts[1] if len(parts) > 1 else "main")
        if commit is None:
            return _error(404, "RevisionNotFound")
        files = self.commits[commit]
        if parts[0] in ("tree", "paths-info"):
            return _json([{"type": "file", "path": name, "size": len(data), "oid": _oid(data)}
                          for name, data in files.items()])
        return _json({"id": OWNER_AND_NAME, "sha": commit, "private": False, "gated": False, "disabled": False,
                      "tags": [], "downloads": 0, "likes": 0, "siblings": [{"rfilename": name} for name in files]})

    def _file(self, revision: str, name: str) -> tuple[int, dict[str, str], bytes]:
        commit = self._resolved(revision)
        data = None if commit is None else self.commits[commit].get(name)
        if commit is None or data is None:
            return _error(404, "EntryNotFound")
        return 200, {"ETag": f'"{_oid(data)}"', "X-Repo-Commit": commit}, data

    def _resolved(self, revision: str) -> str | None:
        commit = self.main if revision == "main" else revision
        return commit if commit in self.commits else None


@contextmanager
def serving(hub: FakeHub) -> Iterator[str]:
    """Serve a hub and yield its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, headers, body = hub.answer(unquote(urlsplit(self.path).path))
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_HEAD = do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def _oid(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


def _json(value: Any) -> tuple[int, dict[str, str], bytes]:
    return 200, {"Content-Type": "application/json"}, json.dumps(value).encode()


def _error(status: int, code: str) -> tuple[int, dict[str, str], bytes]:
    return status, {"X-Error-Code": code, "X-Error-Message": code}, b""
