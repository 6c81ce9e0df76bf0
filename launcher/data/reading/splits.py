"""Which split of a dataset is meant."""

import re

from launcher.core.errors import DataInvalid
from launcher.core.suggestions import did_you_mean

NAMES = re.compile(r"(?:^|[^a-z0-9])(train|training|test|testing|validation|valid|val|dev|eval)(?=$|[^a-z])")


def choose_split(path: str, wanted: str | None, splits: list[str]) -> str:
    """Return the wanted split, else train or the only one. Raises DataInvalid if there is none such."""
    if wanted is not None and wanted.partition("[")[0] in splits:
        return wanted
    if wanted is not None:
        raise DataInvalid(f"{path}: has no split {wanted!r}; {did_you_mean(wanted, splits)}")
    if "train" in splits or len(splits) == 1:
        return "train" if "train" in splits else splits[0]
    raise DataInvalid(f"{path}: has the splits {', '.join(splits)}; say which with split:")


def split_named(path: str) -> str | None:
    """Return the split that a file's name or folder says it is of, as `datasets` understands names; None if none."""
    found = NAMES.search(path.lower())
    return found and ("train" if found[1].startswith("train") else "test")
