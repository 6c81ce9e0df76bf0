"""What a rank takes by itself is timed where no other rank can make it wait."""

import json
import time
from collections.abc import Callable
from math import isnan
from pathlib import Path
from typing import Any

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


def test_what_is_compiled_is_left_alone() -> None:
    model = nn.Sequential(Waits(), nn.Linear(4, 8))
    model[0].compile()
    assert largest(model) == [model[1]]


@pytest.mark.slow
def test_of_ranks_whose_steps_take_equally_long_the_one_that_is_held_is_named_while_it_is(tmp_path: Path) -> None:
    log = tmp_path / "log-0"
    ranks = [ForkedProcess("tests.runtime.alone_worker", tmp_path, rank, 2, log=tmp_path / f"log-{rank}")
             for rank in range(2)]
    try:
        clean = told(log, lambda windows: len(windows) >= 8)
        assert changes(clean) == [], clean
        with held_now_and_then(ranks[1].pid):
            held = told(log, changes)[len(clean):]
        assert changes(held) == [[1, True]], held
        last = held[-1]
        assert last["scores"][1] > 1.3 and last["steps"][1] == pytest.approx(last["steps"][0], rel=0.15), last
        assert changes(told(log, lambda windows: len(changes(windows)) == 2)) == [[1, True], [1, False]]
        print(*told(log, bool), sep="\n")
    finally:
        for process in ranks:
            process.kill()
            process.wait()


def told(log: Path, enough: Callable[[list[dict[str, Any]]], object]) -> list[dict[str, Any]]:
    """Return the windows that rank 0 has judged, once there are enough."""
    deadline = time.monotonic() + 60.0
    while True:
        lines = log.read_text().splitlines(keepends=True) if log.exists() else []
        windows = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("\n")]
        if enough(windows):
            return windows
        assert time.monotonic() < deadline, lines
        time.sleep(0.02)


def changes(windows: list[dict[str, Any]]) -> list[list[Any]]:
    return [change for window in windows for change in window["changes"]]
