"""Writing safetensors files tensor by tensor, so that a model larger than memory can be written.

The library's own `save` needs all tensors of a file at once. Format as in `runtime.tensor_files`.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import prod

import torch

from launcher.runtime.tensor_files import STORED

NAMES = {dtype: name for name, dtype in STORED.items()}
Shapes = Mapping[str, tuple[int, ...]]


def shards(shapes: Shapes, item_bytes: int, limit: int) -> list[list[str]]:
    """Cut tensors, in order, into files of at most `limit` bytes; a larger tensor has a file of its own."""
    result: list[list[str]] = [[]]
    filled = 0
    for name, shape in shapes.items():
        size = prod(shape) * item_bytes
        if result[-1] and filled + size > limit:
            result.append([])
            filled = 0
        result[-1].append(name)
        filled += size
    return result


def stream(names: Sequence[str], shapes: Shapes, dtype: torch.dtype,
           read: Callable[[str], torch.Tensor]) -> Iterator[bytes]:
    """Yield a file's bytes: its header, then each tensor as `read` returns it."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name in names:
        begin, end = end, end + prod(shapes[name]) * dtype.itemsize
        header[name] = {"dtype": NAMES[dtype], "shape": list(shapes[name]), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of 8, as the library writes them
    yield len(text).to_bytes(8, "little") + text
    for name in names:
        yield read(name).to(dtype).contiguous().view(torch.uint8).numpy().tobytes()
