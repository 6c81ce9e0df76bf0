"""Names of prepared data in the cache; apart from its readers, which need numpy."""

from typing import Literal

Split = Literal["train", "holdout"]
SPLITS: tuple[Split, ...] = ("train", "holdout")


def split_key(fingerprint: str, split: Split, name: str) -> str:
    """Return the key of one array of a split."""
    return f"prepared/{fingerprint}/{split}/{name}.npy"


def index_key(fingerprint: str) -> str:
    """Return the key of a prepared source's index."""
    return f"prepared/{fingerprint}/index.json"
