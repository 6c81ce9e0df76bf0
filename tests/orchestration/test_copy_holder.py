"""Nodes that keep each other's copies, without Ray: real servers and checkpoints, and a disk for each."""

import json
import random
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path

import pytest

from launcher.core.peer_copies import Holding, Mark, Peer
from launcher.orchestration import copy_holder
from launcher.orchestration.copy_holder import CopyHolder, Duty
from launcher.storage import peer_source
from launcher.storage.checkpoint_place import copy_from
from launcher.storage.checkpoints import Checkpoints
from launcher.storage.memory_files import MemoryFile
from launcher.storage.slice_files import Copy
from tests.orchestration.test_worker_process import awaited
from tests.storage.a_store_run import StoreRun
from tests.storage.test_checkpoint_damage import ELEMENTS, commit

SIZE = ELEMENTS * 4
HERE = "127.0.0.1"


class Nodes(StoreRun):
    """Nodes of a run. Node `one` writes what both ranks of a checkpoint have; `two` keeps that in memory."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(folder)
        self.folder, self.asked, self.free = folder, list[str](), 1 << 30
        get, get_ranges = self.store.get, self.store.get_ranges
        self.store.get = lambda key: (self.asked.append(key), get(key))[1]
        self.store.get_ranges = lambda key, spans: (self.asked.append(key), get_ranges(key, spans))[1]
        monkeypatch.setattr(copy_holder, "RunDir", self.seen_by)
        self.holders = {name: CopyHolder(name, HERE, lambda: self.free) for name in ("one", "two")}

    def save(self, step: int, attempt: int = 1) -> None:
        commit(Checkpoints(self.seen_by("one"), lambda step: "c"), step, attempt=attempt)

    def tell(self, mark: Mark) -> None:
        """Tell node two what is committed."""
        self.holders["two"].keep(Duty(before=self.holders["one"].peer, saved=mark))

    def kept(self, step: int) -> set[str]:
        return set(self.holders["two"].holding(step).files)

    def save_and_keep(self, step: int) -> None:
        self.save(step)
        self.tell((1, step))
        awaited(lambda: self.kept(step) == whole(1), 10.0)

    def lose_one(self) -> None:
        self.holders.pop("one").close()
        shutil.rmtree(self.folder / "one")

    def load(self, step: int, holdings: tuple[Holding, ...] | None = None) -> list[str]:
        """Load all of a checkpoint on a node that is new; return what of its files the store was asked for."""
        found = tuple(holder.holding(step) for holder in self.holders.values()) if holdings is None else holdings
        checkpoints = Checkpoints(self.seen_by("three"), lambda step: "c", found)
        place, self.asked[:] = checkpoints.place(step), []
        for rank, file in enumerate(checkpoints.manifest(step).files):
            into = bytearray(SIZE)
            copy_from(place, file, checkpoints_index(checkpoints, step, rank), [Copy(0, 0, memoryview(into))])
            assert into == random.Random(step * 10 + rank).randbytes(SIZE)
        return [key for key in self.asked if "rank-" in key]


def checkpoints_index(checkpoints: Checkpoints, step: int, rank: int):
    return checkpoints.index(step, checkpoints.manifest(step, sizes=False).files[rank])


def whole(attempt: int) -> set[str]:
    return {f"{attempt:03d}-rank-{rank:03d}.bin{more}" for rank in (0, 1) for more in ("", ".json")}


def everything(step: int) -> list[str]:
    return [f"checkpoints/step-{step:08d}/001-rank-{rank:03d}.bin{more}" for rank in (0, 1) for more in (".json", "")]


@pytest.fixture
def nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Nodes]:
    made = Nodes(tmp_path, monkeypatch)
    yield made
    for holder in made.holders.values():
        holder.close()


def test_what_a_lost_node_wrote_is_read_from_its_neighbours_memory_and_not_from_the_store(nodes: Nodes) -> None:
    nodes.save_and_keep(4)
    nodes.lose_one()
    assert nodes.load(4) == []
    assert not list((nodes.folder / "two").rglob("*.bin")), "in memory, and on no disk"


def test_what_a_node_wrote_is_had_from_its_disk_as_well(nodes: Nodes) -> None:
    nodes.save(4)
    assert nodes.load(4) == [], "its ranks may live elsewhere now"


def test_an_older_copy_is_dropped_once_the_newer_is_here(nodes: Nodes) -> None:
    nodes.save_and_keep(4)
    nodes.save(8)
    assert nodes.kept(4) and not nodes.kept(8), "it is not committed, as far as this node knows"
    nodes.tell((1, 8))
    awaited(lambda: not nodes.kept(4), 10.0)
    assert nodes.kept(8) == whole(1)
    nodes.lose_one()
    assert nodes.load(8) == [] and nodes.load(4) == everything(4)


def test_without_room_for_both_the_older_goes_first_and_without_room_for_one_there_is_none(nodes: Nodes) -> None:
    nodes.save_and_keep(4)
    nodes.free = 3 * SIZE
    nodes.save_and_keep(8)
    assert not nodes.kept(4)
    nodes.free = 0
    nodes.save(12)
    nodes.tell((1, 12))
    awaited(lambda: not nodes.kept(8), 10.0)
    nodes.lose_one()
    assert nodes.load(12) == everything(12)


def test_what_a_neighbour_that_is_gone_wrote_stays_when_there_is_another_neighbour(nodes: Nodes) -> None:
    nodes.save_and_keep(4)
    nodes.lose_one()
    nodes.holders["four"] = CopyHolder("four", HERE, lambda: nodes.free)
    nodes.holders["two"].keep(Duty(before=nodes.holders["four"].peer, saved=(1, 4)))
    nodes.holders["two"].keep(Duty(before=nodes.holders["four"].peer, saved=(1, 4)))
    assert nodes.load(4) == []


def test_a_neighbour_that_is_away_is_asked_again(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copy_holder, "AGAIN_S", 0.05)
    nodes.save(4)
    listed = nodes.holders["one"]._server.listed
    failures = [OSError("away"), OSError("away")]

    def at_last() -> object:
        if failures:
            raise failures.pop()
        return listed()

    monkeypatch.setattr(nodes.holders["one"]._server, "listed", at_last)
    nodes.tell((1, 4))
    awaited(lambda: nodes.kept(4) == whole(1), 10.0)
    assert not failures


def test_a_copy_that_is_damaged_or_of_something_else_or_dropped_costs_a_trip_and_nothing_else(nodes: Nodes) -> None:
    nodes.save_and_keep(4)
    nodes.lose_one()
    found, two = (nodes.holders["two"].holding(4),), nodes.holders["two"]
    data, index = sorted(kept for kept in two._held if "000" in kept.name)
    other, _ = sorted(kept for kept in two._held if "001" in kept.name)
    two._held[data], two._held[other] = two._held[other], two._held[data]
    assert nodes.load(4, found) == ["checkpoints/step-00000004/001-rank-000.bin",
                                    "checkpoints/step-00000004/001-rank-001.bin"]
    two._held[other], two._held[data] = two._held[data], MemoryFile("torn")
    assert nodes.load(4, found) == ["checkpoints/step-00000004/001-rank-000.bin"]
    two._held.pop(index).close()
    assert nodes.load(4, found) == ["checkpoints/step-00000004/001-rank-000.bin.json",
                                    "checkpoints/step-00000004/001-rank-000.bin"]


def silent(listener: socket.socket) -> None:
    """Take connections, and say nothing."""


def slow(listener: socket.socket) -> None:
    """Answer, a byte at a time."""
    with listener.accept()[0] as reader:
        reader.recv(65536)
        reader.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while True:
            reader.sendall(b"x")
            time.sleep(0.02)


def broken(listener: socket.socket) -> None:
    """Break off."""
    with listener.accept()[0] as reader:
        reader.recv(65536)
        reader.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nxyz")


def strange(listener: socket.socket) -> None:
    """Answer as no peer does."""
    with listener.accept()[0] as reader:
        reader.recv(65536)
        reader.sendall(b"\x00\x01\x02\r\n\r\n")


def gone(listener: socket.socket) -> None:
    """Refuse every connection."""
    listener.close()


@pytest.mark.parametrize("ill", [silent, slow, broken, strange, gone])
def test_a_peer_that_is_ill_costs_one_short_wait_and_then_the_store_is_read(
        nodes: Nodes, ill: Callable[[socket.socket], None], monkeypatch: pytest.MonkeyPatch) -> None:
    nodes.save(4)
    monkeypatch.setattr(peer_source, "SILENT_S", 0.2)
    with socket.create_server((HERE, 0)) as listener:
        def answer() -> None:
            with suppress(OSError):  # the reader has given up
                ill(listener)

        peer = Peer(address=HERE, port=listener.getsockname()[1], token="x")
        served = threading.Thread(target=answer, daemon=True)
        served.start()
        begin = time.monotonic()
        sizes = dict.fromkeys(whole(1), SIZE)
        assert nodes.load(4, (Holding(peer=peer, step=4, files=sizes),)) == everything(4)
        assert time.monotonic() - begin < 2.0, "it was asked once, and not for each file"
        served.join(5)


def test_who_has_not_the_token_is_told_nothing(nodes: Nodes) -> None:
    nodes.save(4)
    peer = nodes.holders["one"].peer
    assert peer.token not in repr(peer) and peer.token not in str(Duty(before=peer))
    for told in ({}, {"Authorization": "Bearer "}, {"Authorization": f"Bearer {nodes.holders['two'].peer.token}"}):
        for method, path in (("GET", "/copies"), ("POST", "/copies/1/4/rank-000.bin")):
            asked = HTTPConnection(HERE, peer.port, timeout=5)
            asked.request(method, path, json.dumps([[0, 10]]), told)
            answer = asked.getresponse()
            assert (answer.status, answer.read()) == (401, b"")
            asked.close()


@pytest.mark.parametrize("path", ["/copies/1/4/..", "/copies/1/4/", "/copies/1/4/%2e%2e", "/copies/x/4/rank-000.bin",
                                  "/copies/1/4/rank-009.bin", "/copies/../../etc/passwd", "/"])
def test_nothing_else_of_a_node_can_be_read(nodes: Nodes, path: str) -> None:
    nodes.save(4)
    peer = nodes.holders["one"].peer
    asked = HTTPConnection(HERE, peer.port, timeout=5)
    asked.request("POST", path, json.dumps([[0, 10]]), {"Authorization": f"Bearer {peer.token}"})
    answer = asked.getresponse()
    assert (answer.status, answer.read()) == (404, b"")
    asked.close()


def test_secrets_reach_neither_the_run_directory_nor_the_store(nodes: Nodes) -> None:
    nodes.save_and_keep(4)
    tokens = [holder.peer.token.encode() for holder in nodes.holders.values()]
    for path in nodes.folder.rglob("*"):
        if path.is_file():
            assert not any(token in path.read_bytes() for token in tokens)
