"""What a rank takes by itself is timed where no other rank can make it wait."""

import json
import time
from math import isnan
from pathlib import Path
from statistics import median

import pytest
import torch
from torch import nn

from launcher.runtime.alone import LARGEST, MICRO_BATCHES, Alone, largest
from launcher.runtime.batches import MicroBatch
from tests.runtime.forked import ForkedProcess
from tests.runtime.pulses import held_now_and_then

CPU = torch.device("cpu")


class Slow(nn.Linear):
    """A layer that takes a known time."""

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        time.sleep(0.01)
        return super().forward(given)


class Waits(nn.Module):
    """Holds layers, and is late for a reason that is not in them: as one whose parameters are gathered."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(Slow(4, 4), nn.ReLU(), Slow(4, 4))

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        time.sleep(0.05)
        return self.inner(given)


def batch(rows: int, *sources: str) -> MicroBatch:
    ids = torch.zeros(rows, 4, dtype=torch.long)
    return MicroBatch(ids, ids, ids, sources, 0)


def test_time_in_layers_counts_and_what_comes_between_does_not() -> None:
    model = Waits()
    alone = Alone(model, CPU)
    alone.take(batch(2, "sums", "sums"))
    model(torch.zeros(1, 4))
    assert 0.02 <= alone.seconds(0.0, share=8.0) < 0.05
    # Half as many tokens in the same time, for a share as large: twice as slow. Loading comes on top.
    alone.take(batch(1, "sums"))
    model(torch.zeros(1, 4))
    assert 1.04 <= alone.seconds(1.0, share=8.0) < 1.09


def test_rows_of_weight_zero_evaluation_and_a_step_without_rows_say_nothing() -> None:
    model = Waits()
    alone = Alone(model, CPU)
    alone.take(batch(1))
    model(torch.zeros(1, 4))
    assert isnan(alone.seconds(0.1, share=8.0))
    alone.take(batch(1, "sums"))
    model.eval()
    model(torch.zeros(1, 4))
    assert isnan(alone.seconds(0.1, share=8.0))


def test_only_the_first_micro_batches_and_the_largest_layers_are_timed() -> None:
    model = nn.Sequential(*(Slow(size, 1) for size in range(1, LARGEST + 9)), nn.ReLU())
    assert [layer.in_features for layer in largest(model)] == list(range(LARGEST + 8, 8, -1))
    model = nn.Sequential(Slow(4, 4))
    alone = Alone(model, CPU)
    for _ in range(MICRO_BATCHES + 4):
        alone.take(batch(1, "sums"))
        model(torch.zeros(1, 4))
    assert 0.01 * MICRO_BATCHES <= alone.seconds(0.0, share=4.0 * MICRO_BATCHES) < 0.01 * (MICRO_BATCHES + 3)


@pytest.mark.slow
def test_a_process_that_is_held_for_half_of_the_time_takes_longer_by_itself(tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = ForkedProcess("tests.runtime.alone_worker", tmp_path, log=log)
    try:
        clean = told(log, 0, 5)
        with held_now_and_then(process.pid):
            begun = len(log.read_text().splitlines()) + 1
            held = told(log, begun, 5)
        print(clean, held)
        assert median(own for own, _ in held) > 1.3 * median(own for own, _ in clean)
        assert all(own < 0.7 * step for own, step in clean)
    finally:
        process.kill()
        process.wait()


def told(log: Path, begin: int, count: int) -> list[tuple[float, float]]:
    """Wait until so many windows are told; return their own time and that of the whole step."""
    deadline = time.monotonic() + 60.0
    while not log.exists() or len(log.read_text().splitlines()) <= begin + count:
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.01)
    lines = [json.loads(line) for line in log.read_text().splitlines()[begin:begin + count]]
    return [(line["own"], line["step"]) for line in lines]
