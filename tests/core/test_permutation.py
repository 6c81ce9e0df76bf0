"""The keyed shuffle is a bijection for every size, and keys matter."""

import numpy as np
import pytest

from launcher.core.permutation import bijection, feistel, half_bits, round_keys

KEYS = [b"a", b"b", b"stage 3 block 17"]


def whole(size: int, key: bytes) -> np.ndarray:
    """Walk all positions at once through one table of the network."""
    half = half_bits(size)
    table = feistel(np.arange(4**half, dtype=np.uint64), half, round_keys(key))
    places = table[:size]
    while (outside := places >= size).any():
        places = np.where(outside, table[places], places)
    return places


def test_every_size_up_to_4096_is_permuted():
    key = b"every size"
    tables = {half: feistel(np.arange(4**half, dtype=np.uint64), half, round_keys(key)) for half in range(1, 7)}
    for size in range(1, 4097):
        table = tables[half_bits(size)]
        places = table[:size].copy()
        while (outside := np.flatnonzero(places >= size)).size:
            places[outside] = table[places[outside]]
        assert (np.bincount(places.astype(np.int64), minlength=size) == 1).all(), size


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 63, 64, 65, 1000, 1025, 4096])
def test_one_position_at_a_time_agrees_with_all_at_once(size, key):
    assert [bijection(i, size, key) for i in range(size)] == whole(size, key).tolist()


def test_keys_give_different_orders():
    orders = {tuple(bijection(i, 50, f"key {k}".encode()) for i in range(50)) for k in range(200)}
    assert len(orders) == 200


def test_places_are_spread_evenly_over_keys():
    # 8,000 keys, 8 places: each place 1,000 times, give or take; 4 sigma is 118.
    counts = np.bincount([bijection(3, 8, f"{k}".encode()) for k in range(8000)], minlength=8)
    assert (abs(counts - 1000) < 118).all(), counts


def test_large_sizes_stay_inside():
    size = 10**12 + 39
    places = {bijection(i, size, b"large") for i in range(0, size, size // 1000)}
    assert all(0 <= place < size for place in places) and len(places) >= 1000


@pytest.mark.parametrize("position", [-1, 7])
def test_a_position_outside_is_refused(position):
    with pytest.raises(IndexError):
        bijection(position, 7, b"x")
