"""Ray's own job client as we use it, against a stand-in for the dashboard: what is asked, and how nobody answers."""

import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from socketserver import TCPServer
from urllib.parse import unquote
from zipfile import ZipFile

import pytest

from launcher.core.errors import PlatformError
from launcher.platforms.ray_jobs_client import Dashboard, IdUsed, Unsure
from launcher.platforms.ray_jobs_request import Request

REQUEST = Request("chat.a001", "exec python -m launcher.cli.main run x", {"X": "1"}, {"run_dir": "/runs/chat"})
USED = "Traceback (most recent call last):\nValueError: Job with submission_id chat.a001 already exists. Please"


class Handler(BaseHTTPRequestHandler):
    """Answers as Ray 2.60 does."""

    server: "StandIn"  # type: ignore[assignment]

    def do_GET(self) -> None:
        jobs, path = self.server.jobs, unquote(self.path)
        if path == "/api/version":
            self.answer(200, {"version": "4", "ray_version": "2.60.0", "ray_commit": "x", "session_name": "s"})
        elif path == "/api/jobs/":
            self.answer(200, [*jobs.values(), {"type": "DRIVER", "job_id": "01000000", "status": "RUNNING",
                                               "entrypoint": "python x.py"}])
        elif path.startswith("/api/packages/"):
            self.answer(200 if path in self.server.packages else 404, {})
        else:
            job, _, what = path.removeprefix("/api/jobs/").partition("/")
            if job not in jobs:
                self.answer(404, f"Job {job} does not exist")
            else:
                self.answer(200, {"logs": "step 1\n"} if what == "logs" else jobs[job])

    def do_PUT(self) -> None:
        self.server.packages[self.path] = self.body()
        self.answer(200, {})

    def do_POST(self) -> None:
        body, parts = self.body(), self.path.strip("/").split("/")
        if parts[-1] == "stop":
            if parts[2] not in self.server.jobs:
                return self.answer(404, "Job does not exist")
            self.server.jobs[parts[2]]["status"] = "STOPPED"
            return self.answer(200, {"stopped": True})
        if self.server.refusal:
            return self.answer(500, self.server.refusal)
        asked = self.server.asked = json.loads(body)
        time.sleep(self.server.delay)
        self.server.jobs[asked["submission_id"]] = {
            "type": "SUBMISSION", "submission_id": asked["submission_id"], "status": "PENDING",
            "entrypoint": asked["entrypoint"], "metadata": asked["metadata"], "message": "Job has not started yet."}
        return self.answer(200, {"job_id": asked["submission_id"], "submission_id": asked["submission_id"]})

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def answer(self, status: int, content: object) -> None:
        text = (content if isinstance(content, str) else json.dumps(content)).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class StandIn(ThreadingHTTPServer):
    """A dashboard."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.jobs: dict[str, dict[str, object]] = {}
        self.packages: dict[str, bytes] = {}
        self.asked: dict[str, object] = {}
        self.refusal, self.delay = "", 0.0

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # The one in between asks for this machine's name, which takes seconds on some.
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]

    def handle_error(self, *_: object) -> None:
        """Say nothing of those who did not wait for an answer."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@pytest.fixture
def stand_in(monkeypatch):
    # Either would send Ray's client elsewhere, whatever address it is given.
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:1")
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://127.0.0.1:2")
    server = StandIn()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def package(tmp_path):
    with ZipFile(tmp_path / "package.zip", "w") as file:
        # All of these Ray would leave out of a folder.
        for name in (".gitignore", "data/x.jsonl", "venv/y.py", ".git/z"):
            file.writestr(name, "*.jsonl\n")
    return tmp_path / "package.zip"


def test_a_job_is_submitted_looked_at_and_stopped(stand_in, package):
    board = Dashboard(stand_in.url)
    assert board.jobs() == [] and board.job("chat.a001") is None and board.logs("chat.a001") == ""
    board.submit(REQUEST, package)
    uploaded, = stand_in.packages.values()
    assert len(ZipFile(BytesIO(uploaded)).namelist()) == 4, "something was left out"
    env = stand_in.asked["runtime_env"]
    assert env["env_vars"] == {"X": "1"} and env["working_dir"].startswith("gcs://_ray_pkg_")
    assert stand_in.asked["entrypoint"] == REQUEST.entrypoint and "entrypoint_num_cpus" not in stand_in.asked
    job = board.job("chat.a001")
    assert job is not None and job.waits and job.metadata == {"run_dir": "/runs/chat"} and board.jobs() == [job]
    assert board.logs("chat.a001") == "step 1\n"
    board.stop("chat.a001")
    assert (stopped := board.job("chat.a001")) is not None and stopped.state == "STOPPED" and not stopped.live
    board.stop("chat.a999")


def test_what_the_command_takes_of_its_node_is_said(stand_in, package):
    Dashboard(stand_in.url).submit(Request("chat.a001", "x", {}, {}, 0.5, {"head": 0.01}), package)
    assert (stand_in.asked["entrypoint_num_cpus"], stand_in.asked["entrypoint_resources"]) == (0.5, {"head": 0.01})


def test_trouble_is_one_line_and_says_whether_the_job_may_be_there(stand_in, package):
    board = Dashboard(stand_in.url, 0.3)
    stand_in.refusal = USED
    with pytest.raises(IdUsed):
        board.submit(REQUEST, package)
    stand_in.refusal = "Traceback (most recent call last):\nRuntimeError: no agent\n"
    with pytest.raises(PlatformError, match="RuntimeError: no agent") as trouble:
        board.submit(REQUEST, package)
    assert "\n" not in str(trouble.value)
    stand_in.refusal, stand_in.delay = "", 1.0
    with pytest.raises(Unsure, match="no answer"):
        board.submit(REQUEST, package)


def test_where_nobody_answers_it_takes_no_longer_than_a_person_waits():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        begin = time.monotonic()
        with pytest.raises(PlatformError, match=f"{url}: no answer"):
            Dashboard(url, 0.2)
        assert time.monotonic() - begin < 15.0
    with pytest.raises(PlatformError, match=f"{url}: no answer"):
        Dashboard(url)
