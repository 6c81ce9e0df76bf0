"""A save that the storage refuses is told, and training goes on; the one before stays."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from launcher.runtime.checkpoint.saver import Saved, Saver
from launcher.storage.checkpoints import Checkpoints
from launcher.storage.run_dir import RunDir
from tests.runtime.checkpoint.protocol import KnownState, manifest
from tests.runtime.checkpoint.runs import three_stages, train


class Alone:
    """The exchange of a world of one."""

    def all(self, text: str) -> list[str]:
        return [text]

    def first(self, text: str) -> str:
        return text


class LargeState(KnownState):
    """The known state, as large as a file system that fills up needs."""

    def flats(self) -> Iterator[Any]:
        for flat in super().flats():
            yield flat.__class__(torch.cat([flat.tensor, torch.zeros(40_000)]), flat.parts)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(place)]).returncode:
        pytest.skip("only root may mount a small file system")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def save(saver: Saver, state: Any, step: int) -> Saved:
    state.step = step
    saver.begin(manifest(step, 1))
    return saver.finished(wait=True)[0]


def test_a_full_disk_costs_a_checkpoint_and_not_the_run(small_disk: Path) -> None:
    state: Any = LargeState(0, 1)
    run = small_disk / "run"
    checkpoints = Checkpoints(RunDir(run))
    exchange: Any = Alone()
    saver = Saver(state, checkpoints, exchange, 0, keep=1)
    assert save(saver, state, 1).error == ""
    filler = small_disk / "filler"
    filler.write_bytes(bytes(700 << 10))
    failed = save(saver, state, 2)
    assert "No space left on device" in failed.error and saver.failures == 1
    assert checkpoints.committed() == [1] and checkpoints.verify(1).step == 1
    filler.unlink()
    assert save(saver, state, 3).error == "" and saver.failures == 0
    assert checkpoints.committed() == [3] and checkpoints.verify(3).step == 3


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_training_that_can_save_no_more_ends_on_all_ranks_with_one_message(small_disk: Path, tmp_path: Path) -> None:
    plan = three_stages(tmp_path, stage_rows=(43, 12, 7))
    (small_disk / "filler").write_bytes(bytes(900 << 10))
    result = train(tmp_path, small_disk / "run", plan, 2)
    assert result.exit_codes == [1, 1]
    told = [result.of("failed", rank)[0] for rank in range(2)]
    assert {(failure["kind"], failure["traceback"]) for failure in told} == {("storage", "")}
    assert told[0]["message"] == told[1]["message"]
    assert told[0]["message"].startswith("3 checkpoints in a row could not be saved, the last because of rank ")
    assert "No space left on device" in told[0]["message"]


def test_a_read_only_folder_costs_a_checkpoint_and_not_the_run(small_disk: Path) -> None:
    state: Any = KnownState(0, 1)
    checkpoints = Checkpoints(RunDir(small_disk / "run"))
    exchange: Any = Alone()
    saver = Saver(state, checkpoints, exchange, 0, keep=1)
    assert save(saver, state, 1).error == ""
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert "Read-only file system" in save(saver, state, 2).error
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    assert save(saver, state, 3).error == "" and checkpoints.committed() == [3]


def test_an_old_checkpoint_that_cannot_be_deleted_costs_nothing(tmp_path: Path) -> None:
    state: Any = KnownState(0, 1)
    checkpoints = Checkpoints(RunDir(tmp_path))
    exchange: Any = Alone()
    saver = Saver(state, checkpoints, exchange, 0, keep=1)
    assert save(saver, state, 1).error == ""
    unreadable = Path(checkpoints.url(1)) / "manifest.json"
    unreadable.unlink()
    unreadable.mkdir()
    assert save(saver, state, 2).error == ""
    assert checkpoints.committed() == [2, 1] and checkpoints.verify(2).step == 2
