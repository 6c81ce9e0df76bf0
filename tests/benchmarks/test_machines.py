"""Simulated machines: what a peer sees of one that is cut off or without power, and that nothing is ever left."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from benchmarks.machines import Machine, Machines, why_not
from launcher.storage.process_id import ProcessId
from tests.orchestration.test_worker_process import awaited

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(why_not()), reason=why_not() or "it is possible")]

SERVER = """
import socket
server = socket.create_server(("0.0.0.0", 5000))
print("listens", flush=True)
peer = server.accept()[0]
peer.sendall(b"hello")
peer.recv(1)
"""
CLIENT = """
import socket
peer = socket.create_connection(("{address}", 5000), 5)
print(peer.recv(5).decode(), flush=True)
peer.settimeout(1)
try:
    print("it closed" if peer.recv(1) == b"" else "?", flush=True)
except TimeoutError:
    print("silence", flush=True)
"""
LEFT_BEHIND = """
import os, subprocess
from benchmarks.machines import Machines
machines = Machines()
machine = machines.boot()
sleeper = subprocess.Popen(machine.argv(["sleep", "600"]))
from launcher.storage.process_id import process_id
print(machines.folder, process_id(sleeper.pid).model_dump_json(), flush=True)
os.kill(os.getpid(), 9)
"""


@pytest.fixture
def machines() -> Iterator[Machines]:
    with Machines() as made:
        yield made


class Talk:
    """A connection between two machines, with something said over it already."""

    def __init__(self, machines: Machines) -> None:
        _bridge, self.server_machine, client_machine = machines.boot(), machines.boot(), machines.boot()
        self.server = started(self.server_machine, SERVER)
        assert said(self.server) == "listens"
        self.client = started(client_machine, CLIENT.format(address=self.server_machine.address))
        assert said(self.client) == "hello"

    def end(self) -> None:
        for process in (self.client, self.server):
            process.kill()
            process.communicate()


@pytest.fixture
def talk(machines: Machines) -> Iterator[Talk]:
    made = Talk(machines)
    yield made
    made.end()


def started(machine: Machine, code: str) -> subprocess.Popen[str]:
    return subprocess.Popen(machine.argv([sys.executable, "-c", code]), stdout=subprocess.PIPE, text=True)


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_a_process_that_is_killed_is_noticed_by_its_peer(talk: Talk) -> None:
    talk.server.kill()
    assert said(talk.client) == "it closed"


def test_of_a_machine_without_power_nothing_is_left_and_its_peers_hear_nothing(machines: Machines, talk: Talk) -> None:
    machines.lose_power(talk.server_machine)
    assert talk.server.wait(1) == -9 and talk.server_machine not in machines.live
    assert said(talk.client) == "silence"


def test_a_cut_network_ends_nothing_and_works_again_when_it_is_mended(machines: Machines, talk: Talk) -> None:
    machines.cut_network(talk.server_machine)
    assert said(talk.client) == "silence" and talk.server.poll() is None
    machines.mend_network(talk.server_machine)
    nobody = (talk.server_machine.address, 5001)
    ping = [sys.executable, "-c", f"import socket; socket.create_connection({nobody}, 5)"]
    answer = subprocess.run(machines.live[2].argv(ping), capture_output=True, text=True, check=False)
    assert "Connection refused" in answer.stderr, "the machine answers that nobody listens there"


def test_nothing_is_left_of_machines_whose_maker_was_killed() -> None:
    told = subprocess.run([sys.executable, "-c", LEFT_BEHIND], capture_output=True, text=True, check=False).stdout
    folder, process = told.strip().split(" ", 1)
    awaited(lambda: not ProcessId.model_validate_json(process).alive())
    awaited(lambda: subprocess.run(["ls", folder], capture_output=True, check=False).returncode)
