"""Which documents are kept for evaluation, and which are there twice: by their content alone.

A document is known by a hash of its texts, so it is the same in whatever form, source or place it occurs, and adding
documents moves no other in or out of a holdout that is a share.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from launcher.core.recipe_sources import Holdout
from launcher.data.documents import Documents

HASH_BYTES = 8


def content_hash(texts: Iterable[str]) -> int:
    """Return a 64-bit number for the texts of a document. Empty ones and white space around them do not count."""
    joined = "\n".join(stripped for text in texts if (stripped := text.strip()))
    return int.from_bytes(blake2b(joined.encode(), digest_size=HASH_BYTES).digest(), "big")


@dataclass(frozen=True, slots=True)
class Division:
    """The documents of a source, apart."""

    train: Documents
    holdout: Documents
    duplicates: int
    """Documents that an equal one of the same files comes before."""
    overlap: int
    """Documents of the holdout's own files that are trained on too."""


def divide(documents: Documents, own_holdout: Documents | None, holdout: Holdout, *, drop: bool) -> Division:
    """Return what is trained on and what is held out, duplicates dropped or kept."""
    documents, duplicates = _without_repeats(documents, drop=drop)
    if own_holdout is None:
        held = held_out(documents, holdout)
        return Division(documents.where(~held), documents.where(held), duplicates, 0)
    own_holdout, more = _without_repeats(own_holdout, drop=drop)
    overlap = np.isin(own_holdout.hashes[own_holdout.wholes()], documents.hashes)
    return Division(documents, own_holdout, duplicates + more, int(overlap.sum()))


def held_out(documents: Documents, holdout: Holdout) -> np.ndarray:
    """Return for each document whether it is kept for evaluation. Equal documents are together.

    By number, those with the smallest hashes are kept: more than wanted only where the last one occurs again.
    """
    if holdout.documents:
        hashes = documents.hashes[documents.wholes()]
        wanted = min(holdout.documents, len(hashes))
        return documents.hashes <= np.partition(hashes, wanted - 1)[wanted - 1] if wanted else np.zeros(0, bool)
    limit = int(holdout.share * 2**64)
    return documents.hashes < np.uint64(limit) if limit < 2**64 else np.ones(len(documents), bool)


def _without_repeats(documents: Documents, *, drop: bool) -> tuple[Documents, int]:
    """Return the documents, those that an equal one comes before left out if `drop`, and how many these are."""
    wholes = documents.wholes()
    again = _repeated(documents.hashes[wholes])
    count = int(again.sum())
    return documents.where(~again[np.cumsum(wholes) - 1]) if drop and count else documents, count


def _repeated(hashes: np.ndarray) -> np.ndarray:
    """Return for each hash whether it comes again."""
    order = np.argsort(hashes, kind="stable")
    in_order = hashes[order]
    again = np.zeros(len(hashes), bool)
    again[order[1:]] = in_order[1:] == in_order[:-1]
    return again
