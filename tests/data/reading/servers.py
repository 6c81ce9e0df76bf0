"""Servers on this machine that speak what data lies behind: the web, S3, and the Hugging Face hub."""

import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

LONGEST_START_S = 60


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def web_server(folder: Path, handler: type[SimpleHTTPRequestHandler] = _Quiet) -> Iterator[str]:
    """Serve a folder and yield its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@contextmanager
def s3_server() -> Iterator[str]:
    """Run moto's S3 server in a process of its own and yield its address."""
    with _server("/moto-api/", lambda port: [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", port]
                 ) as address:
        yield address


@contextmanager
def google_server() -> Iterator[str]:
    """Run gcp-storage-emulator in a process of its own, in memory, and yield its address."""
    with _server("/", lambda port: [sys.executable, "-m", "gcp_storage_emulator", "start", "-q", "-M", "-H",
                                    "127.0.0.1", "--port", port]) as address:
        yield address


@contextmanager
def azurite_server(program: str) -> Iterator[str]:
    """Run Azurite's blob service in a process of its own, in memory, and yield its address."""
    with _server("/", lambda port: [program, "--silent", "--inMemoryPersistence", "--skipApiVersionCheck",
                                    "--disableTelemetry", "--blobHost", "127.0.0.1", "--blobPort", port]) as address:
        yield address


@contextmanager
def _server(path: str, command: Callable[[str], list[str]]) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(command(str(port)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               env=dict(os.environ))
    try:
        _await(f"http://127.0.0.1:{port}{path}", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def _await(address: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + LONGEST_START_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except urllib.error.HTTPError:
            return  # It answers.
        except OSError:
            time.sleep(0.05)
    raise AssertionError(f"no server at {address}; it ended with {process.poll()}")
