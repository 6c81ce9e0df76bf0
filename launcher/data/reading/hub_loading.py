"""Loading a hub dataset with `datasets`, quietly, with one message for whatever goes wrong.

Decides nothing of its own: `datasets` knows the hub's formats, `reading.splits` which split is meant.
"""

import logging
from typing import TYPE_CHECKING

from launcher.core.errors import DataInvalid
from launcher.data.reading.splits import choose_split
from launcher.data.reading.tables import first_line

if TYPE_CHECKING:
    from datasets import Dataset


def load(name: str, subset: str | None, split: str | None, commit: str) -> "Dataset":
    """Return a split, fetched if it is not in the cache of `datasets`. Raises DataInvalid."""
    import datasets

    datasets.disable_progress_bars()
    for library in ("datasets", "huggingface_hub"):
        # Their advice, such as on a missing dataset card, would stand between launcher's own lines.
        logging.getLogger(library).setLevel(logging.ERROR)
    try:
        builder = datasets.load_dataset_builder(name, subset, revision=commit)
        _check_commit(name, commit, builder.hash)
        builder.download_and_prepare()
        chosen = choose_split(f"hub:{name}", split, list(builder.info.splits or {}))
        dataset = builder.as_dataset(chosen)
    except DataInvalid:
        raise
    except Exception as error:  # datasets raises as the libraries under it do
        hint = "say which with subset:" if "onfig" in str(error) else "check subset:, the network and HF_TOKEN"
        raise DataInvalid(f"hub:{name}: cannot be loaded ({_whole(error)}); {hint}") from None
    assert isinstance(dataset, datasets.Dataset)
    return dataset


def _check_commit(name: str, wanted: str, found: str | None) -> None:
    """Raise DataInvalid for another commit: without network `datasets` takes the newest it has, whatever is asked."""
    if found != wanted:
        raise DataInvalid(f"hub:{name}: commit {wanted[:12]} cannot be fetched, and the cache of datasets offers "
                          f"{str(found)[:12]} in its place; check the network, or say revision: {found}")


def _whole(error: Exception) -> str:
    """Return the error that began it, for `datasets` wraps what it met."""
    while error.__cause__ is not None and isinstance(error.__cause__, Exception):
        error = error.__cause__
    return first_line(error)
