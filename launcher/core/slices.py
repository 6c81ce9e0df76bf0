"""Slices: elements [low, low + length) of a named one-dimensional tensor of `total` elements.

The unit in which weights are read and checkpoints are kept, so that any number of ranks can take its part.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Slice:
    """A contiguous part of a flattened tensor; may be empty (length 0) on the last ranks."""

    name: str
    low: int
    length: int
    total: int

    @property
    def high(self) -> int:
        """Return the element after the last."""
        return self.low + self.length

    def common(self, other: "Slice") -> tuple[int, int]:
        """Return the elements [low, high) that two slices of one tensor share; high is at most low if none."""
        return max(self.low, other.low), min(self.high, other.high)


def zero3_slice(name: str, total: int, rank: int, world_size: int) -> Slice:
    """Return the part of a tensor of `total` elements that ZeRO-3 keeps on a rank: ceil(total / world) each."""
    share = -(-total // world_size)
    low = min(rank * share, total)
    return Slice(name, low, min(share, total - low), total)


def missing(wanted: Slice, found: list[tuple[int, int]]) -> tuple[int, int] | None:
    """Return the first elements [low, high) of `wanted` that none of the spans in `found` covers, or None."""
    reached = wanted.low
    for low, high in sorted(found):
        if low > reached:
            break
        reached = max(reached, high)
    return None if reached >= wanted.high else (reached, wanted.high)


def likeliest_first(rank: int, ranks: int, files: int) -> list[int]:
    """Return the numbers of files in the order in which a rank that looks for its slices should ask them.

    File f was written by rank f of as many: each parameter's f-th share, whatever the number of ranks was.
    """
    def apart(file: int) -> int:
        """Of the two spans of the whole, in parts of 1 / (ranks * files); negative as far as they overlap."""
        return max(file * ranks, rank * files) - min((file + 1) * ranks, (rank + 1) * files)

    return sorted(range(files), key=apart)
