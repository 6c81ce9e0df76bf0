"""Datasets of the Hugging Face hub, through `datasets`: fetched once, then memory-mapped.

Decides which commit is read: the one said, else the one in the hub's cache, else the newest. Data in the cache is used
without asking the network, so that a run which starts again finds what it began with, also on a node without network.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launcher.core.document import fingerprint
from launcher.core.errors import DataInvalid
from launcher.data.hashes import Stamp
from launcher.data.reading.rows import RowBatch
from launcher.data.reading.tables import batches_of, first_line
from launcher.storage.store import Store

if TYPE_CHECKING:
    from datasets import Dataset

COMMIT = re.compile(r"[0-9a-f]{40}")


class HubTable:
    """One split of a dataset."""

    light = headed = False

    def __init__(self, name: str, subset: str | None, split: str | None, revision: str | None) -> None:
        """Find the commit. Raises DataInvalid if there is no such dataset or revision, or no network to ask."""
        self.path = f"hub:{name}"
        self._name, self._subset, self._split = name, subset, split
        self._commit = _commit(name, revision or "main")
        self._dataset: Dataset | None = None

    @property
    def size(self) -> int:
        """Return the bytes of the table, once it is loaded; nothing else needs it."""
        return 0 if self._dataset is None else int(self._dataset.data.nbytes)

    def stamp(self) -> Stamp:
        """Return the commit."""
        return (self._commit,)

    def content(self, store: Store) -> str:
        """Return what the rows are known by: a commit never changes."""
        return fingerprint("hub", self._commit, self._subset, self._split)

    def columns(self) -> tuple[str, ...] | None:
        """Return the names of the columns."""
        return tuple(self._load().column_names)

    def batches(self, first: int, done: int) -> Iterator[RowBatch]:
        """Yield the rows."""
        dataset = self._load()
        # Not through the dataset's formatting, which would make Python objects of a whole batch here.
        tables = iter(dataset.data.to_batches())  # pyright: ignore[reportAttributeAccessIssue]
        yield from batches_of(self.path, tables, len(dataset), self.size, first, done)

    def _load(self) -> "Dataset":
        if self._dataset is None:
            from launcher.data.reading.hub_loading import load

            self._dataset = load(self._name, self._subset, self._split, self._commit)
        return self._dataset


def _commit(name: str, revision: str) -> str:
    if COMMIT.fullmatch(revision):
        return revision
    return _cached_commit(name, revision) or _asked_commit(name, revision)


def _cached_commit(name: str, revision: str) -> str | None:
    from huggingface_hub.constants import HF_HUB_CACHE

    file = Path(HF_HUB_CACHE) / f"datasets--{name.replace('/', '--')}" / "refs" / revision
    return file.read_text().strip() if file.is_file() else None


def _asked_commit(name: str, revision: str) -> str:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        found: Any = HfApi().dataset_info(name, revision=revision, timeout=30).sha
    except HFValidationError:
        raise DataInvalid(f"hub:{name}: is no hub id of the form OWNER/NAME; check the path") from None
    except RevisionNotFoundError:
        raise DataInvalid(f"hub:{name}: has no revision {revision!r}; give a branch, tag or commit") from None
    except RepositoryNotFoundError:
        raise DataInvalid(f"hub:{name}: there is no such local path, nor such a dataset on the Hugging Face hub; check "
                          "the name, and HF_TOKEN if it is private") from None
    except Exception as error:  # what is under the hub's client raises as it likes
        raise DataInvalid(f"hub:{name}: there is no such local path, and the Hugging Face hub cannot be asked "
                          f"({first_line(error)}); check the name, the network and HF_TOKEN") from None
    return str(found)
