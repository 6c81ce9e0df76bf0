"""Names of prepared data in the cache, and its index: what every start of a run asks for, so no numpy is needed."""

from typing import Literal

from launcher.core.source_index import SourceIndex
from launcher.storage.store import Store

Split = Literal["train", "holdout"]
SPLITS: tuple[Split, ...] = ("train", "holdout")


def split_key(fingerprint: str, split: Split, name: str) -> str:
    """Return the key of one array of a split."""
    return f"{source_prefix(fingerprint)}{split}/{name}.npy"


def tokens_key(fingerprint: str) -> str:
    """Return the key of a prepared source's tokens."""
    return f"{source_prefix(fingerprint)}tokens.int32"


def index_key(fingerprint: str) -> str:
    """Return the key of a prepared source's index."""
    return f"{source_prefix(fingerprint)}index.json"


def source_prefix(fingerprint: str) -> str:
    """Return what all keys of a prepared source begin with."""
    return f"prepared/{fingerprint}/"


def stored_index(store: Store, fingerprint: str) -> SourceIndex:
    """Return the index of a prepared source. Raises KeyError if it is not in the cache."""
    return SourceIndex.from_json(store.get(index_key(fingerprint)))
