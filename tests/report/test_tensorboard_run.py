"""Lives of a tracker, one after the other, are one run to TensorBoard: read with its own reader."""

from pathlib import Path
from typing import Any

import pytest

from launcher.core.settled import Sent
from launcher.report.tracked import Table
from launcher.storage.run_dir import RunDir
from launcher.storage.tracking import TrackingFolder
from tests.report.journals import committed, ended
from tests.report.test_tracker import BEGUN, run, tracker, write

pytest.importorskip("tensorboard")
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from launcher.report.tensorboard_run import TensorboardRun

__all__ = ["run"]


@pytest.fixture
def folder(tmp_path: Path) -> TrackingFolder:
    return TrackingFolder(RunDir(tmp_path))


def tell(board: TensorboardRun, *steps: int, measured: int | None = None, back: int = 0, loss: float = 1.0) -> None:
    for step in steps:
        row: dict[str, Any] = {"step": step, "loss": loss, "applied": 1, "stage": "one"}
        board.row(row | ({"gone_back": back} if back else {}) | ({"measured_step": step} if step == measured else {}),
                  {"samples": Table(("prompt", "output"), (("a|b", "c\nd"),))} if step == measured else {}, 10.0 + step)


def read(folder: TrackingFolder) -> EventAccumulator:
    found = EventAccumulator(str(folder.events))
    found.Reload()
    return found


def points(folder: TrackingFolder, name: str = "loss") -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in read(folder).Scalars(name)]


def test_a_life_that_died_is_followed_by_one_that_goes_on_from_what_stands_in_its_file(folder: TrackingFolder) -> None:
    first = TensorboardRun(folder, {"name": "tiny"})
    assert first.sent == Sent()
    tell(first, 1, 2, 3, measured=2)
    first._writer.flush()
    # It died while it wrote: the end of step 3 is not there.
    file, = folder.event_files()
    torn = file.read_bytes()[:-9]
    first._writer.close()
    file.write_bytes(torn)
    second = TensorboardRun(folder, {"name": "tiny"})
    assert second.sent == Sent(step=2, evaluation=2)
    tell(second, 3, 4)
    second.finish(0, goes_on=False)
    assert points(folder) == [(1, 1.0), (2, 1.0), (3, 1.0), (4, 1.0)]
    assert [point.wall_time for point in read(folder).Scalars("loss")] == [11.0, 12.0, 13.0, 14.0]
    found = read(folder)
    assert set(found.Tags()["tensors"]) == {"run", "samples", "stands"}
    assert b"| a\\|b | c d |" in found.Tensors("samples")[0].tensor_proto.string_val[0]


def test_what_a_verdict_goes_back_from_is_forgotten_and_the_step_it_goes_back_to_is_not(folder: TrackingFolder) -> None:
    first = TensorboardRun(folder, {})
    tell(first, 1, 2, 3, 4, 5)
    tell(first, 3, 4, back=1, loss=2.0)
    first.finish(75, goes_on=True)
    second = TensorboardRun(folder, {})
    assert second.sent == Sent(step=4, evaluation=-1, back=1)
    tell(second, 5, 6, back=1, loss=2.0)
    # It goes back to step 5, where it only measures again, and then on.
    second.row({"step": 5, "measured_step": 5, "gone_back": 2}, {}, 20.0)
    tell(second, 6, back=2, loss=3.0)
    second.finish(0, goes_on=False)
    assert points(folder) == [(1, 1.0), (2, 1.0), (3, 2.0), (4, 2.0), (5, 2.0), (6, 3.0)]
    assert points(folder, "measured_step") == [(5, 5.0)]


def test_somebody_who_is_told_later_than_another_is_told_everything(run: RunDir) -> None:
    write(run, *BEGUN, committed(3, 5.0), *ended("finished", 0, 6.0))
    folder = TrackingFolder(run)
    at_work = tracker(run, TensorboardRun(folder, {}))
    at_work.look()
    at_work.finish()
    assert [step for step, _ in points(folder)] == [1, 2, 3]
    assert [step for step, _ in points(folder, "holdout/sums")] == [0, 3]
    assert tracker(run, TensorboardRun(folder, {})).look() is None
    assert [step for step, _ in points(folder)] == [1, 2, 3]
