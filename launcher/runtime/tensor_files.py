"""The tensors of a Hugging Face model directory, readable by byte range. Loads no weights and imports no engine.

The format is https://github.com/huggingface/safetensors (8 bytes length, a JSON header, raw little-endian tensors).
Its library reads rows of a tensor; ZeRO-3 needs elements [low, high) of the flattened one, which is a plain byte range.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from launcher.core.errors import UserError
from launcher.core.slices import Slice
from launcher.storage.sources import FileSource, Source, Span

LENGTH = 8
"""Bytes that say how long the header is."""
LONGEST_HEADER = 100_000_000
"""The format's own limit: what says more is no such file."""
STORED = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "F64": torch.float64}


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """Where a tensor lies."""

    file: Source
    offset: int
    """Of its first byte in the file."""
    dtype: torch.dtype
    shape: tuple[int, ...]

    def read(self, part: Slice) -> torch.Tensor:
        """Return elements [low, high) of the flattened tensor, as stored."""
        data, = self.file.read([self.span(part)])
        return self.elements(data, part)

    def span(self, part: Slice) -> Span:
        """Return which bytes of the file hold elements [low, high) of the flattened tensor."""
        size = self.dtype.itemsize
        return self.offset + part.low * size, part.length * size

    def elements(self, data: bytes, part: Slice) -> torch.Tensor:
        """Return those elements from the bytes of their span. Raises UserError if the file ends before."""
        if len(data) != self.span(part)[1]:
            raise UserError(f"{self.file}: ends before {part.name}; the file is not whole, fetch it again")
        return torch.frombuffer(bytearray(data), dtype=self.dtype) if data else torch.empty(0, dtype=self.dtype)


class SafetensorsFolder:
    """The tensors of a Hugging Face model directory, by name."""

    def __init__(self, folder: Path | str, files: Sequence[Source] | None = None,
                 headers: Mapping[str, str] | None = None) -> None:
        """Look at a directory's safetensors files; those of `folder` unless others are given.

        `headers` has what each file's own header says, by its name; they are read unless they are given.
        """
        self.folder = str(folder)
        self.tensors: dict[str, StoredTensor] = {}
        found = [FileSource(path) for path in sorted(Path(folder).glob("*.safetensors"))] if files is None else files
        if not found:
            raise UserError(f"{folder}: no .safetensors file; convert the model with save_pretrained first")
        for file in found:
            self.tensors.update(_tensors(file, read_header(file) if headers is None else headers[file.name]))


def read_header(file: Source) -> str:
    """Return a file's header: what tensors it has. Nothing behind it is read, which some rank reads anyway."""
    start = b"".join(file.read([(0, LENGTH)]))
    size = int.from_bytes(start, "little")
    if len(start) < LENGTH or size > LONGEST_HEADER:
        raise UserError(f"{file}: not a safetensors file")
    try:
        return b"".join(file.read([(LENGTH, size)])).decode()
    except UnicodeDecodeError:
        raise UserError(f"{file}: not a safetensors file") from None


def _tensors(file: Source, text: str) -> dict[str, StoredTensor]:
    begin = LENGTH + len(text.encode())
    try:
        header = json.loads(text)
    except ValueError:
        raise UserError(f"{file}: not a safetensors file") from None
    header.pop("__metadata__", None)
    unknown = {entry["dtype"] for entry in header.values()} - STORED.keys()
    if unknown:
        raise UserError(f"{file}: holds tensors of type {', '.join(sorted(unknown))}; quantized weights are not read")
    return {name: StoredTensor(file, begin + entry["data_offsets"][0], STORED[entry["dtype"]],
                               tuple(entry["shape"])) for name, entry in header.items()}
