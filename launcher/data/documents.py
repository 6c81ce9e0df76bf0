"""Tokenized documents as numbers: everything about them but their tokens, which are on disk already.

Decides how many bytes a document costs while a source is prepared: 24, so that sources larger than memory fit.
"""

from array import array
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Documents:
    """Documents in the order of the source. A long one that is split up is several, with one index and one hash."""

    offsets: np.ndarray
    """int64: where each document's tokens begin."""
    lengths: np.ndarray
    """int32, each at least 1."""
    supervised: np.ndarray
    """int32: how many tokens of each are learnt."""
    indexes: np.ndarray
    """int64: position in the source as given."""
    hashes: np.ndarray
    """uint64: of the content."""

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.lengths)

    def wholes(self) -> np.ndarray:
        """Return which of them begin a document of the source: all but the further parts of split-up ones."""
        first = np.ones(len(self), bool)
        first[1:] = self.indexes[1:] != self.indexes[:-1]
        return first

    def where(self, chosen: np.ndarray) -> "Documents":
        """Return those that are chosen by a bool each."""
        if chosen.all():
            return self
        return Documents(self.offsets[chosen], self.lengths[chosen], self.supervised[chosen], self.indexes[chosen],
                         self.hashes[chosen])


class Shelf:
    """Documents as they come."""

    def __init__(self) -> None:
        self._lengths, self._supervised, self._indexes, self._hashes = array("i"), array("i"), array("q"), array("Q")

    def add(self, lengths: np.ndarray, supervised: np.ndarray, indexes: np.ndarray, hashes: np.ndarray) -> None:
        """Take the next documents."""
        self._lengths.frombytes(lengths.tobytes())
        self._supervised.frombytes(supervised.tobytes())
        self._indexes.frombytes(indexes.tobytes())
        self._hashes.frombytes(hashes.tobytes())

    def documents(self, begin: int = 0) -> Documents:
        """Return all of them, their tokens lying one after the other from `begin`. Nothing may be added then."""
        lengths = np.frombuffer(self._lengths, np.int32)
        offsets = np.cumsum(lengths, dtype=np.int64)
        offsets += begin - lengths
        return Documents(offsets, lengths, np.frombuffer(self._supervised, np.int32),
                         np.frombuffer(self._indexes, np.int64), np.frombuffer(self._hashes, np.uint64))
