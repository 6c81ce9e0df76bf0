"""Which documents are kept for evaluation, and which are there twice: by their content alone.

A document is known by a hash of its texts, so it is the same in whatever form, source or place it occurs, and adding
documents moves no other in or out of a holdout that is a share.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from launcher.core.recipe_sources import Holdout
from launcher.data.documents import Documents, Selection

HASH_BYTES = 8


def document_hash(texts: Iterable[str]) -> int:
    """Return a 64-bit number for the texts of a document. Empty ones and white space around them do not count."""
    joined = "\n".join(stripped for text in texts if (stripped := text.strip()))
    return int.from_bytes(blake2b(joined.encode(), digest_size=HASH_BYTES).digest(), "big")


@dataclass(frozen=True, slots=True)
class Division:
    """The documents of a source, apart."""

    train: Selection
    holdout: Selection
    duplicates: int
    """Documents that an equal one of the same files comes before."""
    overlap: int
    """Documents of the holdout's own files that are trained on too."""


def divide(documents: Documents, own_holdout: Documents | None, holdout: Holdout, *, drop: bool) -> Division:
    """Return what is trained on and what is held out, duplicates dropped or kept."""
    kept, duplicates = _without_repeats(documents, drop=drop)
    if own_holdout is None:
        held = held_out(kept, holdout)
        train, held = Selection(documents, kept.chosen & ~held), Selection(documents, kept.chosen & held)
        return Division(train, held, duplicates, 0)
    own_kept, more = _without_repeats(own_holdout, drop=drop)
    overlap = np.isin(own_kept.hashes(), documents.hashes)
    return Division(kept, own_kept, duplicates + more, int(overlap.sum()))


def held_out(kept: Selection, holdout: Holdout) -> np.ndarray:
    """Return for each document, also those that are not kept, whether its like is for evaluation.

    By number, those with the smallest hashes are: more than wanted only where the last one occurs again.
    """
    hashes = kept.documents.hashes
    if holdout.documents:
        candidates = kept.hashes()
        wanted = min(holdout.documents, len(candidates))
        return hashes <= np.partition(candidates, wanted - 1)[wanted - 1] if wanted else np.zeros(len(hashes), bool)
    limit = int(holdout.share * 2**64)
    return hashes < np.uint64(limit) if limit < 2**64 else np.ones(len(hashes), bool)


def _without_repeats(documents: Documents, *, drop: bool) -> tuple[Selection, int]:
    """Return the documents, those that an equal one comes before left out if `drop`, and how many these are."""
    everything = documents.all()
    again = _repeated(everything.hashes())
    count = int(again.sum())
    if not drop or not count:
        return everything, count
    return Selection(documents, ~again[np.cumsum(documents.wholes()) - 1]), count


def _repeated(hashes: np.ndarray) -> np.ndarray:
    """Return for each hash whether an equal one comes before it. What occurs once, nearly all, costs one sort."""
    in_order = np.sort(hashes)
    several = np.unique(in_order[1:][in_order[1:] == in_order[:-1]])
    again = np.zeros(len(hashes), bool)
    if len(several):
        nearest = np.minimum(np.searchsorted(several, hashes), len(several) - 1)
        places = np.flatnonzero(several[nearest] == hashes)
        _, firsts = np.unique(hashes[places], return_index=True)
        again[places] = True
        again[places[firsts]] = False
    return again
