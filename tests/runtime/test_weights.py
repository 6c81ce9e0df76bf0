"""Base weights are read as slices, and what does not fit is named."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from launcher.core.errors import UserError
from launcher.core.slices import Slice, zero3_slice
from launcher.runtime.tensor_files import SafetensorsFolder
from launcher.runtime.weights import load_weights


@pytest.fixture
def stored(tmp_path: Path) -> dict[str, torch.Tensor]:
    tensors = {"a.weight": torch.randn(7, 5), "a.bias": torch.randn(7), "b.weight": torch.randn(3, 7).bfloat16()}
    save_file(tensors, tmp_path / "model.safetensors")
    return tensors


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(5, 7), nn.Linear(7, 3, bias=False)


@pytest.mark.parametrize("world_size", [1, 2, 3, 8])
def test_slices_of_all_ranks_make_the_tensor(world_size: int, stored: dict[str, torch.Tensor], tmp_path: Path) -> None:
    folder = SafetensorsFolder(tmp_path)
    for name, tensor in stored.items():
        parts = [folder.tensors[name].read(zero3_slice(name, tensor.numel(), rank, world_size))
                 for rank in range(world_size)]
        assert torch.equal(torch.cat(parts).view(tensor.shape), tensor)


def test_whole_parameters_are_filled_and_cast(stored: dict[str, torch.Tensor], tmp_path: Path) -> None:
    model = Two()
    load_weights(model, SafetensorsFolder(tmp_path))
    assert torch.equal(model.a.weight, stored["a.weight"])
    assert torch.equal(model.b.weight, stored["b.weight"].float())


def test_a_missing_tensor_is_named(stored: dict[str, torch.Tensor], tmp_path: Path) -> None:
    model = Two()
    model.c = nn.Linear(2, 2)
    with pytest.raises(UserError, match=r"2 tensors of the model are not there, the first c\.weight"):
        load_weights(model, SafetensorsFolder(tmp_path))


def test_another_shape_is_refused(stored: dict[str, torch.Tensor], tmp_path: Path) -> None:
    model = Two()
    model.b = nn.Linear(7, 4, bias=False)
    with pytest.raises(UserError, match=r"b\.weight has shape \[3, 7\], the model's config says \[4, 7\]"):
        load_weights(model, SafetensorsFolder(tmp_path))


def test_files_that_are_not_whole(stored: dict[str, torch.Tensor], tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-20])
    folder = SafetensorsFolder(tmp_path)
    last = max(folder.tensors, key=lambda name: folder.tensors[name].offset)
    with pytest.raises(UserError, match="not whole, fetch it again"):
        folder.tensors[last].read(Slice(last, 0, stored[last].numel(), stored[last].numel()))
    file.write_bytes(b"garbage that is no header at all")
    with pytest.raises(UserError, match="not a safetensors file"):
        SafetensorsFolder(tmp_path)


def test_a_folder_without_weights(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no \.safetensors file"):
        SafetensorsFolder(tmp_path)
