"""Datasets of the Hugging Face hub, through `datasets`: fetched once, then memory-mapped.

Decides which commit is read: the one said, else the one that was the newest when it was first asked for, as the store
remembers. So a run that starts again finds what it began with, whatever was pushed since, and without network.
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

    def __init__(self, name: str, subset: str | None, split: str | None, commit: str) -> None:
        self.path = f"hub:{name}"
        self._name, self._subset, self._split, self._commit = name, subset, split, commit
        self.found: Stamp = (commit,)
        self._dataset: Dataset | None = None

    @property
    def size(self) -> int:
        """Return the bytes of the table."""
        return int(self._load().data.nbytes)

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


def find_commit(name: str, revision: str, store: Store | None) -> str:
    """Return the commit that a branch, tag or commit means. Raises DataInvalid if it cannot be found out."""
    if COMMIT.fullmatch(revision):
        return revision
    key = f"hashes/hub-{fingerprint(name, revision)}"
    if store is not None and store.exists(key):
        return store.get(key).decode()
    commit = _asked_commit(name, revision)
    if store is not None:
        store.put(key, commit.encode())
    return commit


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
        if (found := _cached_commit(name, revision)) is not None:
            return found
        raise DataInvalid(f"hub:{name}: there is no such local path, and the Hugging Face hub cannot be asked "
                          f"({first_line(error)}); check the name, the network and HF_TOKEN") from None
    return str(found)
