"""Parked state: what parameters had that an earlier segment trained and this one does not.

Each rank keeps its slices in host memory, cut as ZeRO-3 cuts, so that every checkpoint is whole and a later segment may
train these parameters again with what they had. They do not change, so a save writes them from where they lie. Of a new
model also what nobody has trained yet is kept, without moments: another device would draw other values.
"""

from collections.abc import Iterator, Mapping
from math import prod

import torch
import torch.distributed as dist

from launcher.core.slices import Slice, zero3_slice
from launcher.runtime.checkpoint.flats import MASTER, MOMENTS, Flat, FlatPart

Shapes = Mapping[str, tuple[int, ...]]


class Parked:
    """One rank's part."""

    def __init__(self, trained: Shapes, drawn: Shapes, rank: int, world_size: int) -> None:
        """Take the whole shapes of parameters that were trained before, and of those that are only drawn."""
        self.shapes: dict[str, tuple[int, ...]] = {**trained, **drawn}
        self.counts = dict.fromkeys(self.shapes, 0)
        """Updates of each."""
        self.slices = {name: zero3_slice(name, prod(shape), rank, world_size) for name, shape in self.shapes.items()}
        self._trained, self._drawn = tuple(trained), tuple(drawn)
        self._master = self._empty(tuple(self.shapes))
        self._moments = {kind: self._empty(self._trained) for kind in MOMENTS}

    def flats(self) -> Iterator[Flat]:
        """Yield master weights and moments."""
        if self.shapes:
            yield Flat(self._master, self._parts(MASTER, tuple(self.shapes)), fixed=True)
        for kind, tensor in self._moments.items() if self._trained else ():
            yield Flat(tensor, self._parts(kind, self._trained), fixed=True)

    def masters(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Yield each parameter's slice of master weights."""
        for part in self._parts("", tuple(self.shapes)):
            yield part.slice.name, self._master[part.start : part.start + part.slice.length]

    def reset(self) -> None:
        """Forget moments and counts. What is being written of them stays as it was."""
        self.counts = dict.fromkeys(self.shapes, 0)
        self._moments = {kind: torch.zeros_like(tensor) for kind, tensor in self._moments.items()}

    def _empty(self, names: tuple[str, ...]) -> torch.Tensor:
        # Never of no element at all: such memory has no address to be read into.
        return torch.zeros(max(1, sum(self.slices[name].length for name in names)))

    def _parts(self, kind: str, names: tuple[str, ...]) -> tuple[FlatPart, ...]:
        parts: list[FlatPart] = []
        start = 0
        for name in names:
            own = self.slices[name]
            called = f"{kind}/{name}" if kind else name
            parts.append(FlatPart(Slice(called, own.low, own.length, own.total), start))
            start += own.length
        return tuple(parts)


def put_together(own: torch.Tensor, count: int, ranks: int, like: torch.Tensor) -> torch.Tensor:
    """Return a tensor of so many elements, flat, from all ranks' slices of it as ZeRO-3 cuts; in the type and on the
    device of another. Called by all ranks."""
    padded = torch.zeros(-(-count // ranks), dtype=like.dtype, device=like.device)
    padded[: len(own)].copy_(own)
    shares = [padded]
    if ranks > 1:
        shares = [torch.empty_like(padded) for _ in range(ranks)]
        # As bytes: not every backend knows every type.
        dist.all_gather([each.view(torch.uint8) for each in shares], padded.view(torch.uint8))
    return torch.cat(shares)[:count]
