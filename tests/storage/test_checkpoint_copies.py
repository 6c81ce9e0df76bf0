"""What a node wrote of a checkpoint in a store is read there again, and believed only as far as the manifest goes."""

import random
from collections import namedtuple
from pathlib import Path

import pytest

from launcher.storage import checkpoint_copies
from launcher.storage.checkpoint_place import copy_from
from launcher.storage.checkpoints import Checkpoints
from launcher.storage.slice_files import Copy, Damaged
from tests.storage.a_store_run import StoreRun
from tests.storage.test_checkpoint_damage import ELEMENTS, commit

Usage = namedtuple("Usage", "total used free")


class Cluster(StoreRun):
    """Nodes that share a store and no disk."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.folder, self.asked = folder, list[str]()
        get, get_ranges = self.store.get, self.store.get_ranges
        self.store.get = lambda key: (self.asked.append(key), get(key))[1]
        self.store.get_ranges = lambda key, spans: (self.asked.append(key), get_ranges(key, spans))[1]

    def on(self, node: str) -> Checkpoints:
        return Checkpoints(self.seen_by(node), lambda step: "c")

    def load(self, node: str, step: int) -> list[str]:
        """Load what both ranks wrote, as processes do that begin on a node; return what of files the store was asked.
        """
        found, self.asked[:] = self.on(node), []
        for rank, file in enumerate(found.manifest(step).files):
            into = bytearray(ELEMENTS * 4)
            copy_from(found.place(step), file, found.index(step, file), [Copy(0, 0, memoryview(into))])
            assert into == random.Random(step * 10 + rank).randbytes(ELEMENTS * 4)
        return [key for key in self.asked if "rank-" in key]

    def kept(self, node: str) -> set[str]:
        """Return the steps that a node keeps something of."""
        return {path.parent.name for path in (self.folder / node).rglob(".copies/*/*/*")}


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path)


def test_ranks_that_begin_where_they_were_ask_the_store_for_the_manifest_alone(cluster: Cluster) -> None:
    commit(cluster.on("one"), 4)
    assert cluster.load("one", 4) == []
    assert len(cluster.load("two", 4)) == 4, "a node that wrote nothing has nothing"


@pytest.mark.parametrize("name", ["rank-001.bin", "rank-001.bin.json"])
def test_a_copy_that_was_changed_or_is_not_whole_costs_a_trip_and_nothing_else(cluster: Cluster, name: str) -> None:
    commit(cluster.on("one"), 4)
    path, = (cluster.folder / "one").rglob(f".copies/*/*/{name}")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    for spoilt in (bytes(content), bytes(content)[:100], b""):
        path.write_bytes(spoilt)
        assert cluster.load("one", 4) == [f"checkpoints/step-00000004/001-{name}"]


def test_verifying_looks_at_the_store(cluster: Cluster) -> None:
    commit(cluster.on("one"), 4)
    key = "checkpoints/step-00000004/001-rank-001.bin"
    cluster.store.put(key, bytes(len(cluster.store.get(key))))
    with pytest.raises(Damaged, match=r"001-rank-001\.bin is damaged"):
        cluster.on("one").verify(4)


def test_a_node_keeps_the_save_that_is_under_way_and_the_one_before(cluster: Cluster) -> None:
    for step in (4, 8, 12):
        commit(cluster.on("one"), step)
    assert cluster.kept("one") == {"step-00000008", "step-00000012"}
    cluster.on("one").fence(2)
    commit(cluster.on("one"), 6, attempt=2)  # it went back behind what was saved
    assert cluster.kept("one") == {"step-00000012", "step-00000006"}
    commit(cluster.on("one"), 10, attempt=2)
    assert cluster.kept("one") == {"step-00000006", "step-00000010"}


def test_what_was_given_up_or_is_finished_is_not_kept(cluster: Cluster) -> None:
    found = cluster.on("one")
    commit(found, 4)
    found.open_staging(1, 8)
    (found.open_staging(1, 8) / "rank-000.bin").write_bytes(b"x")
    found.publish(1, 8, "rank-000.bin", 4096, (), ())
    found.discard(1, 8)
    assert cluster.kept("one") == {"step-00000004"}
    found.forget_copies()
    assert cluster.kept("one") == set()


def test_a_disk_without_room_for_the_next_save_keeps_nothing(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    room = checkpoint_copies.ROOM * 2 * ELEMENTS * 4
    monkeypatch.setattr(checkpoint_copies.shutil, "disk_usage", lambda _: Usage(0, 0, room * 0.9))
    commit(cluster.on("one"), 4)
    assert cluster.kept("one") <= {"step-00000004"}
    assert not list((cluster.folder / "one").rglob(".copies/*/*/rank-000.bin"))
    assert cluster.load("one", 4) and cluster.on("one").verify(4)
