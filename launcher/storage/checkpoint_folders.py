"""Checkpoints as folders of a local or shared file system: a commit is the rename of the complete, fsynced folder.

    checkpoints/.staging/003/step-00001200/   being written by attempt 3
    checkpoints/step-00001200/                committed: rank files, their indexes and manifest.json
    checkpoints/.deleting-step-00001200/      on its way out
    checkpoints/.rejected/                    found damaged, kept for people to look at

An attempt that begins puts up a fence and takes older attempts' staging folders away, so that one that is believed dead
and is not can neither rename what it wrote nor write anew.
"""

import errno
import shutil
from pathlib import Path

from launcher.storage.checkpoint_medium import step_in, step_name
from launcher.storage.checkpoint_place import MANIFEST, Folder
from launcher.storage.files import sync_folder, write_atomic

LEAVING = ".deleting-"


class Folders:
    """The checkpoints below one folder."""

    def __init__(self, folder: Path) -> None:
        self.url = str(folder)
        self._folder, self._staging = folder, folder / ".staging"

    def path(self, step: int) -> Path:
        """Return where the checkpoint of a step is, if it is committed."""
        return self._folder / step_name(step)

    def staging(self, attempt: int, step: int) -> Path:
        """Return where an attempt writes the checkpoint of a step."""
        return self._staging / f"{attempt:03d}" / step_name(step)

    def fence(self, attempt: int) -> None:
        """Keep attempts before this one from committing, and take away what they were writing. Raises OSError."""
        self._staging.mkdir(parents=True, exist_ok=True)
        # The fence first: a folder that is made before it is seen below, one that is made after it is given up.
        (self._staging / f"fence-{attempt:03d}").touch()
        for folder in sorted(self._staging.glob("[0-9]*")):
            number, _, gone = folder.name.partition("-")
            if int(number) < attempt:
                taken = folder if gone else folder.rename(folder.with_name(f"{number}-gone"))
                shutil.rmtree(taken, ignore_errors=True)

    def open_staging(self, attempt: int, step: int) -> Path:
        """Make an attempt's folder for a step and return it. Raises OSError if a later attempt has begun."""
        folder = self.staging(attempt, step)
        folder.mkdir(parents=True, exist_ok=True)
        later = [int(path.name.removeprefix("fence-")) for path in self._staging.glob("fence-*")]
        if (newest := max(later, default=0)) > attempt:
            raise taken_over(newest, attempt)
        return folder

    def publish(self, attempt: int, step: int, name: str) -> str:
        """Return the file's name: all nodes see it where it was written."""
        return name

    def discard(self, attempt: int, step: int) -> None:
        """Remove what an attempt wrote of a step."""
        shutil.rmtree(self.staging(attempt, step), ignore_errors=True)

    def commit(self, attempt: int, step: int, manifest: bytes) -> None:
        """Make the checkpoint exist. Raises OSError if another attempt has taken its folder away."""
        staged, final = self.staging(attempt, step), self.path(step)
        write_atomic(staged / MANIFEST, (manifest,), make_folder=False)
        if final.exists():
            # Of another lineage: this attempt continued from an earlier step.
            self.reject(step)
        staged.rename(final)
        sync_folder(self._folder)

    def steps(self) -> list[int]:
        """Return the steps of all folders of checkpoints, whole or not."""
        names = [path.name for path in self._folder.iterdir()] if self._folder.exists() else []
        return [step for name in names if (step := step_in(name)) is not None]

    def committed(self) -> list[int]:
        """Return the steps of those that have a manifest."""
        return [step for step in self.steps() if (self.path(step) / MANIFEST).exists()]

    def place(self, step: int) -> Folder:
        """Return where the checkpoint of a step lies."""
        return Folder(self.path(step))

    def reject(self, step: int) -> None:
        """Take a checkpoint out of the run and keep it."""
        rejected = self._folder / ".rejected"
        rejected.mkdir(parents=True, exist_ok=True)
        place = next(path for number in range(10**6)
                     if not (path := rejected / f"{step_name(step)}-{number}").exists())
        if self.path(step).exists():
            self.path(step).rename(place)

    def rejected(self) -> list[str]:
        """Return the names of those that were put aside."""
        return sorted(path.name for path in self._folder.glob(".rejected/*"))

    def delete(self, step: int) -> None:
        """Remove a checkpoint: by one atomic act, so that it is never half there, and then its files."""
        leaving = self._folder / f"{LEAVING}{step_name(step)}"
        # One of the same step may be left from a deletion that was cut short, before the run went back behind it.
        shutil.rmtree(leaving, ignore_errors=True)
        self.path(step).rename(leaving)
        sync_folder(self._folder)
        shutil.rmtree(leaving, ignore_errors=True)

    def forget_copies(self) -> None:
        """Do nothing: what is written is the checkpoint itself."""

    def sweep(self) -> None:
        """Remove what deletions that were cut short have left."""
        for folder in self._folder.glob(f"{LEAVING}*"):
            shutil.rmtree(folder, ignore_errors=True)


def taken_over(newest: int, attempt: int) -> OSError:
    """Return the error of an attempt that another has taken over from."""
    return OSError(errno.EPERM, f"attempt {newest} has taken over from attempt {attempt}")
