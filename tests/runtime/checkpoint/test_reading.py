"""A rank reads the slices it holds and little else, on any number of ranks."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from launcher.core.errors import PlatformError
from launcher.core.slices import zero3_slice
from launcher.runtime.checkpoint.loader import Loader
from launcher.runtime.checkpoint.saver import pieces_of
from launcher.runtime.checkpoint.state import Flat, FlatPart
from launcher.storage.checkpoints import Checkpoints
from launcher.storage.run_dir import RunDir
from launcher.storage.slice_files import Buffer, write_buffers
from tests.runtime.checkpoint.protocol import manifest
from tests.runtime.checkpoint.test_bad_storage import Alone

HIDDEN, INNER, LAYERS, VOCABULARY = 256, 688, 6, 4000
SHAPES = {"embedding": VOCABULARY * HIDDEN, **{
    f"layers.{layer}.{name}": size for layer in range(LAYERS) for name, size in (
        ("q", HIDDEN * HIDDEN), ("k", HIDDEN * HIDDEN // 2), ("v", HIDDEN * HIDDEN // 2), ("o", HIDDEN * HIDDEN),
        ("gate", HIDDEN * INNER), ("up", HIDDEN * INNER), ("down", HIDDEN * INNER), ("norm", HIDDEN))}}
"""A model of five million parameters."""


class Cut:
    """A model's weights as one rank of a ZeRO-3 world would hold them."""

    def __init__(self, rank: int, world_size: int, weights: dict[str, torch.Tensor] | None = None) -> None:
        parts, tensors, start = [], [], 0
        for name, total in SHAPES.items():
            part = zero3_slice(f"master/{name}", total, rank, world_size)
            parts.append(FlatPart(part, start))
            tensors.append(weights[name][part.low : part.high] if weights else torch.zeros(part.length))
            start += part.length
        self.flat = Flat(torch.cat(tensors), tuple(parts))

    def flats(self) -> Iterator[Flat]:
        yield self.flat

    def loaded(self, updates: int) -> None:
        """Nothing follows from these weights."""


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Checkpoints, dict[str, torch.Tensor]]:
    checkpoints = Checkpoints(RunDir(tmp_path_factory.mktemp("run")))
    torch.manual_seed(0)
    weights, files = {name: torch.randn(total) for name, total in SHAPES.items()}, []
    folder = checkpoints.open_staging(1, 5)
    for rank in range(2):
        flat = Cut(rank, 2, weights).flat
        name = f"rank-{rank:03d}.bin"
        block, areas = write_buffers(folder / name, [Buffer(flat.tensor.numpy().data, "float32")])
        files.append(checkpoints.publish(1, 5, name, block, areas, pieces_of([flat])))
    checkpoints.commit(manifest(5, 2).model_copy(update={"files": tuple(files)}))
    return checkpoints, weights


@pytest.mark.parametrize("world_size", [1, 2, 3, 4, 8])
def test_bytes_read_are_at_most_a_tenth_more_than_what_the_rank_holds(
        saved: tuple[Checkpoints, dict[str, torch.Tensor]], world_size: int) -> None:
    checkpoints, weights = saved
    most = 0.0
    for rank in range(world_size):
        state, exchange = Cut(rank, world_size), Alone()
        loader = Loader(_any(state), checkpoints, _any(exchange), 0)
        loader.load_newest(5, lambda step, reason: None)
        assert torch.equal(state.flat.tensor, Cut(rank, world_size, weights).flat.tensor)
        most = max(most, loader.bytes_read / (state.flat.tensor.numel() * 4))
    print(f"{world_size} ranks read at most {most:.3f} of their share")
    assert most <= 1.1


def test_what_another_rank_cannot_read_ends_the_run_and_stays(
        saved: tuple[Checkpoints, dict[str, torch.Tensor]]) -> None:
    class Others(Alone):
        def all(self, text: str) -> list[str]:
            return [text, json.dumps(["", "/run/rank-001.bin: cannot be read: Permission denied"])]

    loader = Loader(_any(Cut(0, 2)), saved[0], _any(Others()), 0)
    with pytest.raises(PlatformError, match=r"rank 1: .*rank-001.bin: cannot be read: Permission denied"):
        loader.load_newest(5, lambda step, reason: pytest.fail(reason))
    assert saved[0].committed() == [5]


def _any(value: object) -> Any:
    return value
