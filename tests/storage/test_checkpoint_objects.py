"""Checkpoints in an object store: what counts is what was committed before the next attempt chose, and nothing else."""

import random
import shutil
from pathlib import Path

import pytest

from launcher.storage.checkpoint_objects import counts
from launcher.storage.checkpoint_place import copy_from
from launcher.storage.checkpoints import Checkpoints
from launcher.storage.run_dir import RunDir
from launcher.storage.slice_files import Copy, Damaged
from tests.storage.a_store_run import StoreRun
from tests.storage.test_checkpoint_damage import ELEMENTS, commit


class Bucket(StoreRun):
    """A run in a store, its checkpoints."""

    def checkpoints(self, node: str, chain: str = "c") -> Checkpoints:
        """Return the run's checkpoints as a node sees them."""
        return Checkpoints(self.seen_by(node), lambda step: chain)


@pytest.fixture
def bucket(tmp_path: Path) -> Bucket:
    return Bucket(tmp_path)


def test_a_node_that_never_saw_the_run_reads_just_what_it_wants(bucket: Bucket) -> None:
    commit(bucket.checkpoints("one"), 4)
    found = bucket.checkpoints("two")
    assert found.committed() == [4] and found.newest(pytest.fail) == 4
    manifest, into = found.verify(4), bytearray(400)
    index = found.index(4, manifest.files[1])
    read = found.place(4).source("001-rank-001.bin").read([(1000, 400)])
    assert next(iter(read)) == random.Random(41).randbytes(ELEMENTS * 4)[1000:1400]
    assert copy_from(found.place(4), manifest.files[1], index, [Copy(0, 1000, memoryview(into))]) == index.block
    assert bytes(into) == random.Random(41).randbytes(ELEMENTS * 4)[1000:1400]


def test_files_without_a_manifest_are_no_checkpoint_and_go_with_the_next_attempt(bucket: Bucket) -> None:
    first = bucket.checkpoints("one")
    commit(first, 4)
    (first.open_staging(1, 8) / "rank-000.bin").write_bytes(b"half")
    first.publish(1, 8, "rank-000.bin", 4096, (), ())
    assert first.steps() == [4] and any("step-00000008" in key for key in bucket.store.list())
    second = bucket.checkpoints("two")
    second.fence(2)
    second.sweep()
    assert not any("step-00000008" in key for key in bucket.store.list()) and second.verify(4)
    assert not list((Path(bucket.store.url).parent / "one").rglob(".staging/*/*/rank-000.bin"))


def test_what_an_attempt_commits_that_was_believed_dead_counts_for_nobody(bucket: Bucket) -> None:
    dead, alive = bucket.checkpoints("one"), bucket.checkpoints("two")
    commit(dead, 4)
    late = [dead.open_staging(1, 8)]
    alive.fence(2)
    with pytest.raises(OSError, match="attempt 2 has taken over from attempt 1"):
        commit(dead, 8)
    with pytest.raises(OSError, match="attempt 2 has taken over"):
        dead.open_staging(1, 9)
    # Even where it looked for a fence before there was one, and put its manifest after.
    key = "checkpoints/step-00000008/manifest.json"
    bucket.store.put(key, bucket.store.get("checkpoints/step-00000004/manifest.json"))
    assert alive.committed() == [4] and bucket.checkpoints("three").committed() == [4]
    assert late[0].is_dir() and bucket.store.exists(key)


@pytest.mark.parametrize("fences,expected", [
    ({}, True), ({2: frozenset()}, False), ({2: frozenset({(8, 1)})}, True), ({2: None}, True),
    ({1: frozenset()}, True), ({2: None, 3: frozenset()}, False),
    ({2: frozenset({(8, 1)}), 3: frozenset()}, True)])
def test_the_first_fence_behind_an_attempt_says_what_of_it_counts(fences: dict[int, frozenset[tuple[int, int]] | None],
                                                                  expected: bool) -> None:
    assert counts((8, 1), fences) is expected


def test_a_step_that_was_gone_back_over_is_committed_in_place_of_the_one_before(bucket: Bucket) -> None:
    commit(bucket.checkpoints("one"), 4)
    commit(bucket.checkpoints("one"), 8)
    second = bucket.checkpoints("two")
    second.fence(2)
    commit(second, 8, attempt=2)
    assert second.manifest(8).attempt == 2 and second.committed() == [8, 4]
    assert second.rejected() == ["step-00000008-0"]


def test_a_damaged_one_is_put_aside_and_the_one_before_taken(bucket: Bucket) -> None:
    found, told = bucket.checkpoints("one"), list[tuple[int, str]]()
    for step in (4, 8):
        commit(found, step)
    bucket.store.put("checkpoints/step-00000008/001-rank-000.bin", b"short")
    assert found.newest(lambda *what: told.append(what)) == 4
    assert told[0][0] == 8 and "001-rank-000.bin has 5 bytes" in told[0][1]
    assert found.rejected() == ["step-00000008-0"] and found.committed() == [4]
    found.fence(2)
    found.sweep()
    assert bucket.store.exists("checkpoints/step-00000008/001-rank-001.bin"), "kept for people to look at"


def test_one_changed_bit_is_damage(bucket: Bucket) -> None:
    found = bucket.checkpoints("one")
    commit(found, 4)
    key = "checkpoints/step-00000004/001-rank-001.bin"
    data = bytearray(bucket.store.get(key))
    data[random.randrange(len(data))] ^= 4
    bucket.store.put(key, bytes(data))
    with pytest.raises(Damaged, match="is damaged in bytes"):
        found.verify(4)


def test_a_deleted_one_is_gone_before_its_files_are(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    found = bucket.checkpoints("one")
    for step in (4, 8):
        commit(found, step)
    delete, deleted = bucket.store.delete, list[str]()
    monkeypatch.setattr(bucket.store, "delete", lambda key: (deleted.append(key), delete(key)))
    found.delete(4)
    assert deleted[0].endswith("manifest.json") and found.committed() == [8]
    assert not list(bucket.store.list("checkpoints/step-00000004/"))


def test_a_copy_between_a_folder_and_a_store_is_read_as_it_is(bucket: Bucket, tmp_path: Path) -> None:
    here = Checkpoints(RunDir(tmp_path / "here"), lambda step: "c")
    commit(here, 4)
    commit(bucket.checkpoints("one"), 8)
    copied = Path(bucket.store.url) / "checkpoints"
    shutil.copytree(tmp_path / "here/checkpoints", copied, dirs_exist_ok=True)
    found = bucket.checkpoints("two")
    found.fence(2)
    found.sweep()
    assert found.committed() == [8, 4] and found.verify(4) and found.verify(8)
    shutil.copytree(copied, tmp_path / "back/checkpoints")
    back = Checkpoints(RunDir(tmp_path / "back"), lambda step: "c")
    back.fence(3)
    assert back.newest(pytest.fail) == 8 and back.verify(4) and back.verify(8)
