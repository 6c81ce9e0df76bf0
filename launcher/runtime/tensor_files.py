"""The tensors of a Hugging Face model directory, readable by byte range. Loads no weights and imports no engine.

The format is https://github.com/huggingface/safetensors (8 bytes length, a JSON header, raw little-endian tensors).
Its library reads rows of a tensor; ZeRO-3 needs elements [low, high) of the flattened one, which is a plain byte range.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import torch

from launcher.core.errors import UserError
from launcher.core.slices import Slice

STORED = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "F64": torch.float64}


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
