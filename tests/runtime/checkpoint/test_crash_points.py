"""Killed at any line on any rank, a run goes on from a checkpoint that is whole."""

import random
import shutil
from pathlib import Path

import pytest
import torch

from launcher.storage.checkpoints import Checkpoints
from launcher.storage.run_dir import RunDir
from launcher.storage.slice_files import Copy, Damaged, read_copies
from tests.runtime.checkpoint.protocol import NEVER, SIZES, expected, manifest, play


def require_whole(run: Path) -> int:
    """Check everything that must hold of a run after a crash; return the step that it goes on from."""
    checkpoints = Checkpoints(RunDir(run))
    checkpoints.fence(2)
    checkpoints.sweep()
    told: list[tuple[int, str]] = []
    newest = checkpoints.newest(lambda step, reason: told.append((step, reason)))
    assert newest in (1, 2) and told == []
    assert not list((run / "checkpoints").glob(".staging/[0-9]*")), "what was being written is taken away"
    assert checkpoints.committed()[0] == newest and set(checkpoints.committed()) <= {1, 2}
    for step in checkpoints.committed():
        _require_state(checkpoints, step)
    return newest


def _require_state(checkpoints: Checkpoints, step: int) -> None:
    manifest, seen = checkpoints.verify(step), dict.fromkeys(SIZES, 0)
    for file in manifest.files:
        index = checkpoints.index(step, file)
        for piece in index.pieces:
            name = piece.name.removeprefix("master/")
            read = torch.empty(piece.length)
            read_copies(checkpoints.place(step).source(file.name), index,
                        [Copy(piece.area, piece.start, read.numpy().data.cast("B"))])
            assert torch.equal(read, expected(name, step)[piece.low : piece.low + piece.length])
            seen[name] += piece.length
    assert seen == SIZES


def lines_of_each_rank(folder: Path, world_size: int) -> list[int]:
    run, lines = play(folder, world_size, 0, NEVER)
    assert len(lines) == world_size and require_whole(run) == 2
    return lines


def points(lines: list[int]) -> list[tuple[int, int]]:
    return [(rank, line) for rank, count in enumerate(lines) for line in range(count)]


def crash_at(folder: Path, world_size: int, rank: int, line: int) -> int:
    run, survivors = play(folder, world_size, rank, line)
    assert len(survivors) < world_size, "the rank that was to be killed went on to its end"
    step = require_whole(run)
    shutil.rmtree(folder)
    return step


def crash_at_some(folder: Path, world_size: int, count: int) -> list[int]:
    """Kill ranks at so many lines, drawn by a seed that is printed; return where each run went on."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chosen = random.Random(seed).sample(points(lines_of_each_rank(folder / "count", world_size)), count)
    return [crash_at(folder / f"{rank}-{line}", world_size, rank, line) for rank, line in chosen]


def test_a_save_that_is_killed_leaves_the_one_before_or_itself(tmp_path: Path) -> None:
    crash_at_some(tmp_path, 2, 6)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_save_of_three_ranks_may_be_killed_at_many_lines(tmp_path: Path) -> None:
    assert set(crash_at_some(tmp_path, 3, 40)) == {1, 2}


@pytest.mark.campaign
@pytest.mark.timeout(1200)
def test_a_save_may_be_killed_at_every_line_of_every_rank(tmp_path: Path) -> None:
    lines = lines_of_each_rank(tmp_path / "count", 3)
    left = [crash_at(tmp_path / f"{rank}-{line}", 3, rank, line) for rank, line in points(lines)]
    print(f"{len(left)} crash points: {left.count(1)} go on from the step before, {left.count(2)} from the new one")
    assert set(left) == {1, 2} and len(left) >= 400


def test_an_attempt_that_wakes_up_late_cannot_commit(tmp_path: Path) -> None:
    checkpoints = Checkpoints(RunDir(tmp_path))
    checkpoints.open_staging(1, 7)
    checkpoints.fence(2)
    with pytest.raises(OSError, match="No such file"):
        checkpoints.commit(manifest(7, 1))
    with pytest.raises(OSError, match="attempt 2 has taken over from attempt 1"):
        checkpoints.open_staging(1, 8)
    checkpoints.fence(3)
    assert checkpoints.committed() == [] and not list((tmp_path / "checkpoints").glob(".staging/[0-9]*"))
    checkpoints.open_staging(3, 8)
    checkpoints.commit(manifest(8, 1, attempt=3))
    assert checkpoints.committed() == [8]


def test_a_manifest_of_another_step_is_not_believed(tmp_path: Path) -> None:
    checkpoints = Checkpoints(RunDir(tmp_path))
    checkpoints.open_staging(1, 7)
    checkpoints.commit(manifest(7, 1))
    Path(checkpoints.url(7)).rename(Path(checkpoints.url(9)))
    with pytest.raises(Damaged, match="is of step 7"):
        checkpoints.manifest(9)
