"""Which documents of a source are its few shots: those whose contents come first under a seed.

A document's place depends on its content and the seed alone, so that adding some moves only as many in as it moves out.
"""

from dataclasses import replace

import numpy as np

from launcher.core.permutation import feistel, round_keys
from launcher.core.recipe_sources import FewShot
from launcher.data.documents import Selection

HALF_BITS = 32
"""Of the hashes that are permuted."""


def few_shots(train: Selection, wish: FewShot) -> Selection:
    """Return as many different documents, parts of split-up ones together. Raises ValueError if there are fewer."""
    documents = train.documents
    begins = np.flatnonzero(documents.wholes())
    candidates = begins[train.chosen[begins]]
    hashes, first = np.unique(documents.hashes[candidates], return_index=True)
    if len(hashes) < wish.examples:
        raise ValueError(f"few_shot: {wish.examples} are wanted, and {len(hashes)} different documents are left to "
                         "train on; want fewer, or hold out less")
    order = np.argsort(feistel(hashes, HALF_BITS, round_keys(f"few {wish.seed or 0}".encode())), kind="stable")
    taken = np.isin(begins, candidates[first[order[: wish.examples]]])
    return replace(train, chosen=train.chosen & taken[np.cumsum(documents.wholes()) - 1])
