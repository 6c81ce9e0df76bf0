"""Tokenized documents as numbers: everything about them but their tokens, which are on disk already.

Decides how many bytes a document costs while a source is prepared: 24, so that sources larger than memory fit. Nothing
here is copied without need for the same reason: what is trained on and what is held out are selections of one table.
"""

from array import array
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Documents:
    """Documents in the order of the source. A long one that is split up is several, with one index and one hash."""

    begin: int
    """Where the first one's tokens begin; those of the others follow without gaps."""
    lengths: np.ndarray
    """int32, each at least 1."""
    supervised: np.ndarray
    """int32: how many tokens of each are learnt."""
    indexes: np.ndarray
    """int64: position in the source as given."""
    hashes: np.ndarray
    """uint64: of the content."""
    keys: np.ndarray | None = None
    """float64: what a curriculum orders them by, where that is a column."""

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.lengths)

    def offsets(self) -> np.ndarray:
        """Return int64: where each one's tokens begin."""
        offsets = np.cumsum(self.lengths, dtype=np.int64)
        offsets -= self.lengths
        offsets += self.begin
        return offsets

    def wholes(self) -> np.ndarray:
        """Return which of them begin a document of the source: all but the further parts of split-up ones."""
        first = np.ones(len(self), bool)
        np.not_equal(self.indexes[1:], self.indexes[:-1], out=first[1:])
        return first

    def all(self) -> "Selection":
        """Return all of them."""
        return Selection(self, np.ones(len(self), bool))


@dataclass(frozen=True, slots=True)
class Selection:
    """Some of the documents."""

    documents: Documents
    chosen: np.ndarray
    """bool for each of them; the parts of a split-up one are chosen together."""

    def __len__(self) -> int:
        """Return how many are chosen."""
        return int(np.count_nonzero(self.chosen))

    def lengths(self) -> np.ndarray:
        """Return the lengths of those that are chosen."""
        return self.documents.lengths[self.chosen]

    def hashes(self) -> np.ndarray:
        """Return the hash of each document of the source that is chosen."""
        return self.documents.hashes[self.chosen & self.documents.wholes()]

    def ordered(self, *, descending: bool) -> np.ndarray:
        """Return those that are chosen in the order of their keys, or of their lengths; parts stay together."""
        documents, starts = self.documents, np.flatnonzero(self.documents.wholes())
        keys = documents.keys
        if keys is None:
            whole = np.add.reduceat(documents.lengths, starts, dtype=np.int64)
            keys = np.repeat(whole, np.diff(np.append(starts, len(documents))))
        chosen = keys[self.chosen]
        return np.argsort(-chosen if descending else chosen, kind="stable")

    def places(self, order: np.ndarray) -> np.ndarray:
        """Return where those that are chosen, in some order, stand among all."""
        return order if self.chosen.all() else np.flatnonzero(self.chosen)[order]


class Shelf:
    """Documents as they come."""

    def __init__(self) -> None:
        self._keys = array("d")
        self._lengths, self._supervised, self._indexes, self._hashes = array("i"), array("i"), array("q"), array("Q")

    def add(self, lengths: np.ndarray, supervised: np.ndarray, indexes: np.ndarray, hashes: np.ndarray,
            keys: np.ndarray | None = None) -> None:
        """Take the next documents, all of them with keys or none."""
        if keys is not None:
            self._keys.frombytes(keys.tobytes())
        self._lengths.frombytes(lengths.tobytes())
        self._supervised.frombytes(supervised.tobytes())
        self._indexes.frombytes(indexes.tobytes())
        self._hashes.frombytes(hashes.tobytes())

    def documents(self, begin: int = 0) -> Documents:
        """Return all of them, their tokens lying from `begin` on. Nothing may be added then."""
        return Documents(begin, np.frombuffer(self._lengths, np.int32), np.frombuffer(self._supervised, np.int32),
                         np.frombuffer(self._indexes, np.int64), np.frombuffer(self._hashes, np.uint64),
                         np.frombuffer(self._keys, np.float64) if self._keys else None)
