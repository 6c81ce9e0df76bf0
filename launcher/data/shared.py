"""Documents that several sources of a recipe have: trained on twice, or measured and trained on.

Decides by content hashes, which know a document in any form. A holdout by share keeps equal documents apart from
training in every source that holds out as much; what is left is told by `launcher prepare`.
"""

from itertools import combinations, permutations

import numpy as np

from launcher.core.source_index import Prepared, SharedDocuments
from launcher.data.keys import SPLITS, Split
from launcher.data.packed import document_hashes
from launcher.storage.store import Store


def shared_documents(prepared: Prepared, store: Store) -> tuple[SharedDocuments, ...]:
    """Return every pair of sources that share documents, held-out ones that are trained on elsewhere first."""
    hashes: dict[tuple[str, Split], np.ndarray] = {
        (name, split): np.unique(document_hashes(store, index, split))
        for name, index in prepared.sources.items() for split in SPLITS}
    found = [SharedDocuments(source=held, other=trained, held_out=True,
                             documents=_common(hashes[held, "holdout"], hashes[trained, "train"]))
             for held, trained in permutations(prepared.sources, 2)]
    found += [SharedDocuments(source=one, other=other, held_out=False,
                              documents=_common(hashes[one, "train"], hashes[other, "train"]))
              for one, other in combinations(prepared.sources, 2)]
    return tuple(each for each in found if each.documents)


def _common(one: np.ndarray, other: np.ndarray) -> int:
    return len(np.intersect1d(one, other, assume_unique=True))
