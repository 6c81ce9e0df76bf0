"""Base weights, read as slices: each rank reads just the bytes of its part from the safetensors files.

The format is https://github.com/huggingface/safetensors (8 bytes length, a JSON header, raw little-endian tensors).
Its library reads rows of a tensor; ZeRO-3 needs elements [low, high) of the flattened one, which is a plain byte range.
"""

import json
import os
from dataclasses import dataclass
from math import prod
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn

from launcher.core.errors import UserError
from launcher.core.slices import Slice, zero3_slice
from launcher.runtime.partitions import is_partitioned, own_slice, whole_shape

STORED = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "F64": torch.float64}
CHUNK = 64 * 2**20
"""Elements read at once: bounds the extra host memory."""


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """Where a tensor lies."""

    file: Path
    offset: int
    """Of its first byte in the file."""
    dtype: torch.dtype
    shape: tuple[int, ...]

    def read(self, part: Slice) -> torch.Tensor:
        """Return elements [low, high) of the flattened tensor, as stored."""
        size = self.dtype.itemsize
        with self.file.open("rb") as file:
            data = os.pread(file.fileno(), part.length * size, self.offset + part.low * size)
        if len(data) != part.length * size:
            raise UserError(f"{self.file}: ends before {part.name}; the file is not whole, fetch it again")
        return torch.frombuffer(bytearray(data), dtype=self.dtype) if data else torch.empty(0, dtype=self.dtype)


class SafetensorsFolder:
    """The tensors of a Hugging Face model directory, by name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tensors: dict[str, StoredTensor] = {}
        files = sorted(folder.glob("*.safetensors"))
        if not files:
            raise UserError(f"{folder}: no .safetensors file; convert the model with save_pretrained first")
        for file in files:
            self.tensors.update(_header(file))


def _header(file: Path) -> dict[str, StoredTensor]:
    with file.open("rb") as opened:
        try:
            length = int.from_bytes(opened.read(8), "little")
            header = json.loads(opened.read(length))
        except (ValueError, MemoryError, OverflowError):
            raise UserError(f"{file}: not a safetensors file") from None
    header.pop("__metadata__", None)
    unknown = {entry["dtype"] for entry in header.values()} - STORED.keys()
    if unknown:
        raise UserError(f"{file}: holds tensors of type {', '.join(sorted(unknown))}; quantized weights are not read")
    return {name: StoredTensor(file, 8 + length + entry["data_offsets"][0], STORED[entry["dtype"]],
                               tuple(entry["shape"])) for name, entry in header.items()}


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
