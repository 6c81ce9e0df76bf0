"""Copying what a run needs at its submission, so that a queued job runs what was submitted.

Decides what is copied, how much at most, and that a copy is named after its content: the same submission twice is one
copy, and none is ever changed. What a job makes of it is `storage.submitted`.
"""

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from compileall import compile_dir
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from py_compile import PycInvalidationMode

from launcher.core.document import fingerprint
from launcher.core.errors import UserError
from launcher.core.source_index import Prepared
from launcher.storage.own_code import own_code
from launcher.storage.recipes import LoadedRecipe
from launcher.storage.run_dir import RunDir
from launcher.storage.submitted import CODE, DESCRIPTION, Submitted

LARGEST = 50 * 2**20
"""Bytes of one copy; a recipe and launcher's code are two."""


@dataclass(frozen=True)
class Snapshot:
    """What is to be copied."""

    described: Submitted
    contents: Mapping[str, bytes]
    """By name below the copy's folder."""

    @property
    def size(self) -> int:
        """Return the bytes of all files."""
        return sum(map(len, self.contents.values()))

    @cached_property
    def name(self) -> str:
        """Return what the content is known by."""
        digests = {name: hashlib.blake2b(content, digest_size=16).hexdigest()
                   for name, content in self.contents.items()}
        return fingerprint(self.described, digests)[:12]

    @property
    def has_code(self) -> bool:
        """Return whether launcher's own code is in it."""
        return any(name.startswith(f"{CODE}/") for name in self.contents)

    def entries(self) -> Iterator[tuple[str, bytes]]:
        """Yield all files by name, with the one that describes the others."""
        yield DESCRIPTION, self.described.to_json().encode()
        yield from self.contents.items()

    def name_of(self, file: Path) -> str:
        """Return the name of a file's copy. Raises KeyError if it is not copied."""
        return {origin: name for name, origin in self.described.origins.items()}[str(file)]

    def folder(self, works: Path) -> Path:
        """Return where it lies in the folder in which the run's jobs work."""
        return works.absolute() / RunDir.SUBMITTED / self.name

    def keep(self, works: Path) -> Path:
        """Copy it there unless it is there; return its folder."""
        folder = self.folder(works)
        if folder.exists():
            return folder
        staging = folder.with_name(f".{self.name}.{os.getpid()}")
        try:
            for name, content in self.entries():
                path = staging / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
                path.chmod(0o444)
            # Once here, and not by each process of the job. Nothing changes in a copy, so nothing is compared.
            compile_dir(staging / CODE, quiet=2, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH)
            staging.rename(folder)
        except OSError:
            if not folder.exists():  # Else another submission of the same was first.
                raise
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        return folder


def snapshot_of(loaded: LoadedRecipe, overrides: Sequence[str], prepared: Prepared | None,
                also: Sequence[Path] = ()) -> Snapshot:
    """Return what to copy for a recipe: the files that it names, `also`, and launcher's own code where it may change.

    Data and models are not copied. Raises UserError if it is too much.
    """
    code, left_out = own_code()
    names = _names([*loaded.named, *also])
    origins = {name: str(file) for name, file in names.items()}
    # From an earlier copy, where a run is submitted with it.
    files = {name: loaded.files.copy(file) for name, file in names.items()}
    files |= {f"{CODE}/{name}": file for name, file in code.items()}
    described = Submitted(recipe=next(iter(names)), origins=origins, overrides=tuple(overrides), prepared=prepared,
                          left_out=tuple(left_out))
    found = Snapshot(described, {name: _content(file) for name, file in files.items()})
    if found.size > LARGEST:
        largest = max(found.contents, key=lambda name: len(found.contents[name]))
        raise UserError(f"what would be copied for the job has {found.size / 2**20:.0f} MiB, more than "
                        f"{LARGEST >> 20}; the largest is {files[largest]}")
    return found


def discard(copy: Path) -> None:
    """Remove a copy that no job runs, and the run's directory if nothing else is in it."""
    shutil.rmtree(copy, ignore_errors=True)
    for folder in (copy.parent, copy.parent.parent):
        with suppress(OSError):
            folder.rmdir()


def _content(file: Path) -> bytes:
    if (size := file.stat().st_size) > LARGEST:
        raise UserError(f"{file}: has {size / 2**20:.0f} MiB; files of more than {LARGEST >> 20} are not copied for a "
                        "job")
    return file.read_bytes()


def _names(files: Sequence[Path]) -> dict[str, Path]:
    """Return files by names of their own in one folder."""
    found: dict[str, Path] = {}
    for file in dict.fromkeys(file.absolute() for file in files):
        name, number = file.name, 1
        while name in (*found, DESCRIPTION, CODE):
            number += 1
            name = f"{file.stem}-{number}{file.suffix}"
        found[name] = file
    return found
