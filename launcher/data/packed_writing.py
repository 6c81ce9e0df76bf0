"""Writes what `data.packed` reads, in the layout that it describes, without a copy of what is large."""

from collections.abc import Iterable, Iterator
from io import BytesIO

import numpy as np

from launcher.core.packing import Packing
from launcher.core.source_index import SplitIndex
from launcher.data.documents import Selection
from launcher.data.keys import Split, split_key, tokens_key
from launcher.data.packed import TOKEN
from launcher.storage.store import Store

NUMBERS_PER_WRITE = 1 << 20


def marked(tokens: np.ndarray, supervised: np.ndarray) -> np.ndarray:
    """Return int32 tokens in which the learnt ones are inverted, and so below zero."""
    return np.where(supervised, ~tokens, tokens).astype(TOKEN, copy=False)


def put_tokens(store: Store, fingerprint: str, pieces: Iterable[np.ndarray]) -> None:
    """Store marked tokens, in the order of the source, as they are made."""
    store.put(tokens_key(fingerprint), (piece.astype(TOKEN, copy=False).tobytes() for piece in pieces))


def put_split(store: Store, fingerprint: str, split: Split, selection: Selection, packing: Packing) -> SplitIndex:
    """Store the arrays of one split; the packing is of the documents that are chosen."""
    documents, places = selection.documents, selection.places(packing.order)

    def put(name: str, array: np.ndarray) -> None:
        store.put(split_key(fingerprint, split, name), _npy(array))

    put("row_documents", packing.row_offsets)
    put("document_offsets", documents.offsets()[places])
    put("document_lengths", documents.lengths[places])
    put("document_indexes", documents.indexes[places])
    put("hashes", selection.hashes())
    tokens = _row_sums(documents.lengths[places], packing)
    supervised = _row_sums(documents.supervised[places], packing)
    put("row_tokens", tokens)
    put("row_supervised", supervised)
    return SplitIndex(rows=packing.rows, documents=len(places), tokens=int(tokens.sum(dtype=np.int64)),
                      supervised_tokens=int(supervised.sum(dtype=np.int64)))


def _row_sums(numbers: np.ndarray, packing: Packing) -> np.ndarray:
    """Return the sums over the documents of each row; a row is never empty."""
    if not packing.rows:
        return np.zeros(0, np.int32)
    return np.add.reduceat(numbers, packing.row_offsets[:-1], dtype=np.int32)


def _npy(array: np.ndarray) -> Iterator[bytes]:
    """Yield an .npy file piece by piece, so that a large array is never copied whole."""
    header = BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": np.lib.format.dtype_to_descr(array.dtype), "fortran_order": False, "shape": (len(array),)})
    yield header.getvalue()
    for first in range(0, len(array), NUMBERS_PER_WRITE):
        yield array[first:first + NUMBERS_PER_WRITE].tobytes()
