"""A keyed shuffle that needs no list: the place of one element among any number, by arithmetic.

Decides how positions are permuted under a key: a Feistel network over the next even power of two, walked until the
value falls inside. What is shuffled, and under which key, is `core.mixing`.
"""

from functools import lru_cache
from hashlib import blake2b
from typing import TypeVar

import numpy as np

Words = TypeVar("Words", int, "np.ndarray[tuple[int], np.dtype[np.uint64]]")

# Four rounds make a good permutation of large domains; blocks of mixing have few elements and need more.
ROUNDS = 8
_WORD = 2**64 - 1


def bijection(position: int, size: int, key: bytes) -> int:
    """Return where `position` of `range(size)` goes: for a given key, each position goes to another place."""
    if not 0 <= position < size:
        raise IndexError(f"position {position} is not in range({size})")
    half, keys = half_bits(size), round_keys(key)
    # The network permutes at most 4 * size values, so the walk leaves the domain three times on average at worst.
    place = feistel(position, half, keys)
    while place >= size:
        place = feistel(place, half, keys)
    return place


def half_bits(size: int) -> int:
    """Return the half width of the smallest even power of two that holds `size` values."""
    return max(1, ((size - 1).bit_length() + 1) // 2)


@lru_cache(maxsize=1024)
def round_keys(key: bytes) -> tuple[int, ...]:
    """Return one 64-bit word per round."""
    digest = blake2b(key, digest_size=8 * ROUNDS).digest()
    return tuple(int.from_bytes(digest[8 * i : 8 * i + 8], "little") for i in range(ROUNDS))


def feistel(value: Words, half: int, keys: tuple[int, ...]) -> Words:
    """Permute `range(4 ** half)`. Takes one int, or an array of uint64 with the same result for each element."""
    mask = 2**half - 1
    left, right = value >> half, value & mask
    for key in keys:
        # One multiplication and two folds, as in a murmur finalizer: each bit of `right` reaches the kept low bits.
        word = ((right ^ key) * 0x9E3779B97F4A7C15) & _WORD
        word = ((word ^ (word >> 29)) * 0xBF58476D1CE4E5B9) & _WORD
        left, right = right, (left ^ (word >> 32)) & mask
    return (left << half) | right
