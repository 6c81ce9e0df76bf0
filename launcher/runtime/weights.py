"""Base weights, read as slices: each rank reads just the bytes of its part from the safetensors files."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import torch
import torch.distributed as dist
from torch import nn

from launcher.core.errors import UserError
from launcher.core.slices import Slice, zero3_slice
from launcher.runtime.partitions import is_partitioned, own_slice, whole_shape
from launcher.runtime.tensor_files import SafetensorsFolder, StoredTensor

CHUNK = 16 * 2**20
"""Elements of one read: bounds the extra host memory, since several are asked for at once where that is quicker."""


@dataclass(frozen=True, slots=True)
class _Copy:
    """Elements of a tensor, and where they go."""

    stored: StoredTensor
    part: Slice
    target: torch.Tensor


def load_weights(model: nn.Module, folder: SafetensorsFolder) -> None:
    """Fill every parameter, or this rank's slice of it, from the folder. Raises UserError naming what is missing."""
    places = {name: _find(name, model, folder) for name, _ in model.named_parameters()}
    if missing := [name for name, place in places.items() if place is None]:
        raise UserError(f"{folder.folder}: {len(missing)} tensors of the model are not there, the first {missing[0]}")
    copies = [copy for name, parameter in model.named_parameters()
              if (stored := places[name]) is not None for copy in _copies(name, parameter, stored)]
    by_file: dict[str, list[_Copy]] = defaultdict(list)
    for copy in sorted(copies, key=lambda copy: copy.stored.span(copy.part)):
        by_file[str(copy.stored.file)].append(copy)
    for wanted in by_file.values():
        spans = [copy.stored.span(copy.part) for copy in wanted]
        for copy, data in zip(wanted, wanted[0].stored.file.read(spans), strict=True):
            copy.target.copy_(copy.stored.elements(data, copy.part))
    for name, buffer in model.named_buffers():
        if name in folder.tensors:
            buffer.copy_(folder.tensors[name].read(Slice(name, 0, buffer.numel(), buffer.numel())).view(buffer.shape))


def _find(name: str, model: nn.Module, folder: SafetensorsFolder) -> StoredTensor | None:
    """Return a parameter's tensor; some checkpoints leave the base model's prefix out of the names."""
    prefix = f"{getattr(model, 'base_model_prefix', '')}."
    return folder.tensors.get(name) or folder.tensors.get(name.removeprefix(prefix))


def _copies(name: str, parameter: nn.Parameter, stored: StoredTensor) -> Iterator[_Copy]:
    """Yield what to read for a parameter, or this rank's slice of it."""
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
        yield _Copy(stored, Slice(name, part.low + low, length, whole), target[low : low + length])
