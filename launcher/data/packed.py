"""Packed rows as they lie in the cache, and the reader that a worker memory-maps.

Decides the layout below `prepared/<fingerprint>/`; which documents share a row is `core.packing`, which row is read
when is `core.mixing`. Each split is six plain .npy arrays, tokens in the order of the rows, so a row is one
contiguous piece:

    train/tokens.npy            int32 [tokens]
    train/supervised.npy        bool  [tokens]
    train/row_offsets.npy       int64 [rows + 1]        where a row's tokens begin
    train/row_supervised.npy    int32 [rows]            supervised tokens of each row
    train/row_documents.npy     int64 [rows + 1]        where a row's documents begin in the next two
    train/document_lengths.npy  int32 [documents]
    train/document_indexes.npy  int64 [documents]       index of each document in the source as given
    holdout/...                 the same
    index.json                  the SourceIndex, put last: a prepared source exists if and only if this does
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO

import numpy as np

from launcher.core.packing import Packing
from launcher.core.source_index import SourceIndex, SplitIndex
from launcher.data.keys import Split, split_key
from launcher.data.keys import index_key as index_key
from launcher.storage.store import Store

DOCUMENTS_PER_CHUNK = 1024


@dataclass(frozen=True, slots=True)
class PackedRow:
    """One row: whole documents, one after the other."""

    tokens: np.ndarray
    """int32 [n]"""
    supervised: np.ndarray
    """bool [n]: this token is a label. Always False for the first token of a document."""
    positions: np.ndarray
    """int32 [n], from 0 in each document."""
    documents: np.ndarray
    """int64 [d]: index of each document in the source as given, from 0."""


@dataclass(frozen=True, slots=True)
class Documents:
    """Tokenized documents in the order of the source, one after the other."""

    tokens: np.ndarray
    """int32 [tokens]"""
    supervised: np.ndarray
    """bool [tokens]"""
    lengths: np.ndarray
    """int32 [documents], each at least 1."""
    indexes: np.ndarray
    """int64 [documents]"""


class PackedSplit:
    """The rows of one split, memory-mapped: opening costs nothing, reading a row touches only its own pages."""

    def __init__(self, store: Store, index: SourceIndex, split: Split) -> None:
        def array(name: str) -> np.ndarray:
            path = store.local(split_key(index.fingerprint, split, name))
            return np.load(path, mmap_mode="r" if index_of(index, split).rows else None)  # nothing cannot be mapped

        self._tokens, self._supervised = array("tokens"), array("supervised")
        self._row_offsets, self._row_documents = array("row_offsets"), array("row_documents")
        self._lengths, self._indexes = array("document_lengths"), array("document_indexes")
        self.rows: int = len(self._row_offsets) - 1
        self.supervised: np.ndarray = array("row_supervised")
        """int32 [rows]: supervised tokens of each row."""
        self.tokens_in: np.ndarray = np.diff(self._row_offsets).astype(np.int32)
        """int32 [rows]: tokens of each row."""

    def row(self, index: int) -> PackedRow:
        """Return a row, copied out of the map. Raises IndexError outside 0..rows-1."""
        if not 0 <= index < self.rows:
            raise IndexError(f"row {index} is not in 0..{self.rows - 1}")
        tokens = slice(self._row_offsets[index], self._row_offsets[index + 1])
        documents = slice(self._row_documents[index], self._row_documents[index + 1])
        return PackedRow(np.array(self._tokens[tokens]), np.array(self._supervised[tokens]),
                         restarting_positions(self._lengths[documents]), np.array(self._indexes[documents]))


def restarting_positions(lengths: np.ndarray) -> np.ndarray:
    """Return int32 positions that begin at 0 in each of the documents of the given lengths."""
    starts = np.cumsum(lengths) - lengths
    return (np.arange(lengths.sum()) - np.repeat(starts, lengths)).astype(np.int32)


def index_of(index: SourceIndex, split: Split) -> SplitIndex:
    """Return the numbers of one split."""
    return index.train if split == "train" else index.holdout


def write_split(store: Store, fingerprint: str, split: Split, documents: Documents,
                packing: Packing) -> SplitIndex:
    """Store the arrays of one split.

    No label falls on the first token of a document: what precedes it in the row belongs to another.
    """
    starts = np.cumsum(documents.lengths, dtype=np.int64) - documents.lengths
    supervised = documents.supervised.copy()
    supervised[starts] = False
    order, row_documents = packing.order, packing.row_offsets
    row_offsets = _offsets(documents.lengths[order])[row_documents]
    labels = np.add.reduceat(supervised, starts, dtype=np.int64) if len(starts) else starts
    row_supervised = np.diff(_offsets(labels[order])[row_documents]).astype(np.int32)

    def put(name: str, array: np.ndarray) -> None:
        store.put(split_key(fingerprint, split, name), _npy(array.dtype, len(array), [array]))

    for name, array in (("tokens", documents.tokens), ("supervised", supervised)):
        pieces = _pieces(array, starts[order], documents.lengths[order])
        store.put(split_key(fingerprint, split, name), _npy(array.dtype, int(row_offsets[-1]), pieces))
    put("row_offsets", row_offsets)
    put("row_supervised", row_supervised)
    put("row_documents", row_documents)
    put("document_lengths", documents.lengths[order])
    put("document_indexes", documents.indexes[order])
    return SplitIndex(rows=packing.rows, documents=len(order), tokens=int(row_offsets[-1]),
                      supervised_tokens=int(row_supervised.sum()))


def _offsets(counts: np.ndarray) -> np.ndarray:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)])


def _pieces(array: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the parts of an array that begin at `starts`, many at a time."""
    for first in range(0, len(starts), DOCUMENTS_PER_CHUNK):
        places = zip(starts[first:first + DOCUMENTS_PER_CHUNK], lengths[first:first + DOCUMENTS_PER_CHUNK], strict=True)
        yield np.concatenate([array[start:start + length] for start, length in places])


def _npy(dtype: np.dtype, length: int, pieces: Iterable[np.ndarray]) -> Iterator[bytes]:
    """Yield an .npy file piece by piece, so that a split is never copied whole."""
    header = BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (length,)})
    yield header.getvalue()
    for piece in pieces:
        yield np.ascontiguousarray(piece).tobytes()
