"""Rows as written and as read: nothing lost, nothing joined that belongs apart."""

import numpy as np
import pytest

from launcher.core.packing import one_per_row, pack
from launcher.core.source_index import SourceIndex, SplitIndex
from launcher.data.documents import Documents
from launcher.data.packed import PackedSplit, document_hashes
from launcher.data.packed_writing import marked, put_split, put_tokens
from launcher.storage.store import LocalStore

LENGTH = 32
EMPTY = SplitIndex(rows=0, documents=0, tokens=0, supervised_tokens=0)


def some_documents(count):
    """Return tokens, labels and documents; in front of them lie tokens of documents that are in no split."""
    random = np.random.default_rng(count)
    lengths = random.integers(1, LENGTH + 1, count).astype(np.int32)
    starts, total = 7 + np.cumsum(lengths, dtype=np.int64) - lengths, 7 + int(lengths.sum())
    supervised = random.random(total) < 0.6
    supervised[starts] = False
    learnt = np.array([supervised[start:start + length].sum() for start, length in zip(starts, lengths, strict=True)])
    return random.integers(0, 99, total).astype(np.int32), supervised, Documents(
        7, lengths, learnt.astype(np.int32), np.arange(count, dtype=np.int64) * 3,
        random.integers(0, 2**63, count).astype(np.uint64))


def written(folder, tokens, supervised, documents, packing):
    store = LocalStore(folder)
    put_tokens(store, "f", np.array_split(marked(tokens, supervised), 3))
    train = put_split(store, "f", "train", documents.all(), packing)
    index = SourceIndex(source="s", fingerprint="f", sequence_length=LENGTH, train=train, holdout=EMPTY, read=1)
    assert document_hashes(store, index, "train").tolist() == documents.hashes.tolist()
    return train, PackedSplit(store, index, "train")


@pytest.mark.parametrize("packed", [True, False])
def test_every_document_comes_back_whole(tmp_path, packed):
    tokens, supervised, documents = some_documents(2500)
    packing = pack(documents.lengths, LENGTH) if packed else one_per_row(documents.lengths)
    numbers, split = written(tmp_path, tokens, supervised, documents, packing)
    seen, starts = [], documents.offsets()
    for number in range(split.rows):
        row = split.row(number)
        at = 0
        for index in row.documents.tolist():
            document = index // 3
            low, length = int(starts[document]), int(documents.lengths[document])
            assert row.tokens[at:at + length].tolist() == tokens[low:low + length].tolist()
            assert row.positions[at:at + length].tolist() == list(range(length))
            # The first token follows another document, or nothing.
            assert not row.supervised[at]
            assert row.supervised[at + 1:at + length].tolist() == supervised[low + 1:low + length].tolist()
            seen.append(index)
            at += length
        assert at == len(row.tokens) == split.tokens_in[number] <= LENGTH
        assert row.supervised.sum() == split.supervised[number]
    assert sorted(seen) == documents.indexes.tolist()
    assert numbers == SplitIndex(rows=split.rows, documents=2500, tokens=int(split.tokens_in.sum()),
                                 supervised_tokens=int(split.supervised.sum()))


def test_types_are_as_the_worker_expects_them(tmp_path):
    _, split = written(tmp_path, *some_documents(5), one_per_row(np.ones(5, np.int64)))
    row = split.row(0)
    assert [array.dtype for array in (row.tokens, row.supervised, row.positions, row.documents)] == [
        np.int32, bool, np.int32, np.int64]
    assert split.supervised.dtype == split.tokens_in.dtype == np.int32
    with pytest.raises(IndexError, match="row 5 is not in 0"):
        split.row(5)


def test_an_empty_split_has_no_rows(tmp_path):
    _, split = written(tmp_path, *some_documents(0), pack(np.zeros(0, np.int64), LENGTH))
    assert split.rows == len(split.supervised) == len(split.tokens_in) == 0
