"""Which split of a dataset is meant."""

from launcher.core.errors import DataInvalid
from launcher.core.suggestions import did_you_mean


def choose_split(path: str, wanted: str | None, splits: list[str]) -> str:
    """Return the wanted split, else train or the only one. Raises DataInvalid if there is none such."""
    if wanted is not None and wanted.partition("[")[0] in splits:
        return wanted
    if wanted is not None:
        raise DataInvalid(f"{path}: has no split {wanted!r}; {did_you_mean(wanted, splits)}")
    if "train" in splits or len(splits) == 1:
        return "train" if "train" in splits else splits[0]
    raise DataInvalid(f"{path}: has the splits {', '.join(splits)}; say which with split:")
