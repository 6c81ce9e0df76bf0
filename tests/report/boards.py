"""What TensorBoard's own reader makes of a tracker's event files, beside the journal."""

from importlib.util import find_spec
from typing import Any

import pytest

from launcher.core.ledger import surviving
from launcher.storage.tracking import TrackingFolder

BOARD = find_spec("tensorboard") is not None


def require_one_board(folder: TrackingFolder, events: list[dict[str, Any]], lives: int) -> None:
    """Compare what is read of all lives: each step once, in order, with what counts of it."""
    if not BOARD:
        return
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert len(folder.event_files()) == lives
    found = EventAccumulator(str(folder.events), size_guidance={"scalars": 0})
    found.Reload()
    counted = surviving(events)
    assert [point.step for point in found.Scalars("applied")] == [event["step"] for event in counted]
    assert [(point.step, point.value) for point in found.Scalars("loss")] == [
        (event["step"], pytest.approx(event["loss"], rel=1e-6)) for event in counted if event["loss"] is not None]
    times = [point.wall_time for point in found.Scalars("loss")]
    assert times == sorted(times)
    measured = sorted({event["step"] for event in events if event["event"] == "evaluation"})
    assert [point.step for point in found.Scalars("holdout/sums")] == measured
    assert {"run", "stands"} <= set(found.Tags()["tensors"])
