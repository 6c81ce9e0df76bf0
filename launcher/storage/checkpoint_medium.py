"""What a medium for checkpoints must offer: how one is written, the one act that makes it exist, how it is taken away.

Two kinds of storage offer different acts: a file system renames a folder (`checkpoint_folders`), an object store puts
one object, the manifest, last (`checkpoint_objects`). What a checkpoint is worth is `storage.checkpoints`.
"""

import re
from pathlib import Path
from typing import Protocol

from launcher.storage.checkpoint_place import Place

NAME = re.compile(r"step-\d{8,}")


class Medium(Protocol):
    """Where the checkpoints of one run lie."""

    url: str
    """For people."""

    def fence(self, attempt: int) -> None:
        """Keep attempts before this one from committing, and take away what they were writing. Raises OSError."""
        ...

    def staging(self, attempt: int, step: int) -> Path:
        """Return the local folder in which an attempt writes files of a step."""
        ...

    def open_staging(self, attempt: int, step: int) -> Path:
        """Make that folder and return it. Raises OSError if a later attempt has begun."""
        ...

    def publish(self, attempt: int, step: int, name: str) -> str:
        """Put a file that was written there, and is whole, where all nodes see it; return its name. Raises OSError."""
        ...

    def discard(self, attempt: int, step: int) -> None:
        """Remove what an attempt wrote of a step that will not be committed."""
        ...

    def commit(self, attempt: int, step: int, manifest: bytes) -> None:
        """Make the checkpoint exist, in place of one of the same step. Raises OSError if a later attempt has begun."""
        ...

    def steps(self) -> list[int]:
        """Return the steps of all checkpoints, in any order, whole or not. Raises OSError."""
        ...

    def committed(self) -> list[int]:
        """Return the steps of those that exist, because they have a manifest. Raises OSError."""
        ...

    def place(self, step: int) -> Place:
        """Return where the checkpoint of a step lies."""
        ...

    def reject(self, step: int) -> None:
        """Take a checkpoint out of the run and keep it for people to look at."""
        ...

    def rejected(self) -> list[str]:
        """Return the names of those that were put aside, like `step-00000008-0`."""
        ...

    def delete(self, step: int) -> None:
        """Remove a checkpoint, so that it is never half there."""
        ...

    def forget_copies(self) -> None:
        """Free this node of what it keeps for a restart, if anything."""
        ...

    def sweep(self) -> None:
        """Remove what deletions and attempts that were cut short have left."""
        ...


def step_name(step: int) -> str:
    """Return what the checkpoint of a step is called."""
    return f"step-{step:08d}"


def step_in(name: str) -> int | None:
    """Return the step that a name is of; None if it is no checkpoint's."""
    return int(name[len("step-"):]) if NAME.fullmatch(name) else None


def called(attempt: int, name: str) -> str:
    """Return what an attempt's file is called in a store."""
    return f"{attempt:03d}-{name}"


def attempt_of(name: str) -> int:
    """Return which attempt's a file in a store is, by its name; 0 for one that was copied from a folder."""
    attempt, _, rest = name.partition("-")
    return int(attempt) if rest and attempt.isdecimal() else 0
