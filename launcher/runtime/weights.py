"""Base weights, read as slices: each rank reads just the bytes of its part from the safetensors files."""

from math import prod

import torch.distributed as dist
from torch import nn

from launcher.core.errors import UserError
from launcher.core.slices import Slice, zero3_slice
from launcher.runtime.partitions import is_partitioned, own_slice, whole_shape
from launcher.runtime.tensor_files import SafetensorsFolder, StoredTensor

CHUNK = 64 * 2**20
"""Elements read at once: bounds the extra host memory."""


def load_weights(model: nn.Module, folder: SafetensorsFolder) -> None:
    """Fill every parameter, or this rank's slice of it, from the folder. Raises UserError naming what is missing."""
    places = {name: _find(name, model, folder) for name, _ in model.named_parameters()}
    if missing := [name for name, place in places.items() if place is None]:
        raise UserError(f"{folder.folder}: {len(missing)} tensors of the model are not there, the first {missing[0]}")
    for name, parameter in model.named_parameters():
        stored = places[name]
        assert stored is not None
        _fill(name, parameter, stored)
    for name, buffer in model.named_buffers():
        if name in folder.tensors:
            buffer.copy_(folder.tensors[name].read(Slice(name, 0, buffer.numel(), buffer.numel())).view(buffer.shape))


def _find(name: str, model: nn.Module, folder: SafetensorsFolder) -> StoredTensor | None:
    """Return a parameter's tensor; some checkpoints leave the base model's prefix out of the names."""
    prefix = f"{getattr(model, 'base_model_prefix', '')}."
    return folder.tensors.get(name) or folder.tensors.get(name.removeprefix(prefix))


def _fill(name: str, parameter: nn.Parameter, stored: StoredTensor) -> None:
    shape = whole_shape(parameter)
    if shape != stored.shape:
        raise UserError(f"{stored.file}: {name} has shape {list(stored.shape)}, the model's config says {list(shape)}")
    whole = prod(shape)
    if is_partitioned(parameter):
        part, target = zero3_slice(name, whole, dist.get_rank(), dist.get_world_size()), own_slice(parameter)
    else:
        part, target = Slice(name, 0, whole, whole), parameter.data.view(-1)
    for low in range(0, part.length, CHUNK):
        length = min(CHUNK, part.length - low)
        target[low : low + length].copy_(stored.read(Slice(name, part.low + low, length, whole)))
