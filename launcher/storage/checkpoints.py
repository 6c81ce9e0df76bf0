"""The checkpoints of a run: where they are written, the one act that makes them exist, and how they are taken away.

    checkpoints/.staging/003/step-00001200/   being written by attempt 3
    checkpoints/step-00001200/                committed: rank files, their indexes and manifest.json
    checkpoints/.deleting-step-00001200/      on its way out
    checkpoints/.rejected/                    found damaged, kept for people to look at

A commit is the rename of the complete, fsynced folder. An attempt that begins puts up a fence and takes older attempts'
staging folders away, so that one that is believed dead and is not can neither rename what it wrote nor write anew. What
to keep is `core.saving`, what is read of a checkpoint `storage.checkpoint_folder`.
"""

import errno
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from launcher.core.errors import RunFailed
from launcher.core.manifest import Area, FileIndex, Manifest, Piece, RankFile
from launcher.storage.checkpoint_folder import (
    MANIFEST,
    has_manifest,
    index_digest,
    index_in,
    manifest_in,
    reading,
    verify_in,
)
from launcher.storage.files import sync_folder, write_atomic
from launcher.storage.run_dir import RunDir
from launcher.storage.slice_files import Damaged

LEAVING = ".deleting-"
NAME = re.compile(r"step-\d{8,}")
NOTHING_LEFT = ("no checkpoint of this run can be read any more; what was rejected, and why, is in the journal and in "
                "checkpoints/.rejected. Start anew with another --run-dir.")
"""A run that ever saved never silently begins again."""
GONE = ("the run saved its state after step {step}, and in {folder} there is no checkpoint any more. Put them back, or "
        "start anew with another --run-dir.")


class Checkpoints:
    """All checkpoints of one run, on a local or shared file system."""

    def __init__(self, run: RunDir, chain: Callable[[int], str] | None = None) -> None:
        """Look at a run's checkpoints; with the plan's `chain` by step, those of another plan count as damaged."""
        self._chain = chain
        self._folder = run.path / "checkpoints"
        self._staging = self._folder / ".staging"

    def folder(self, step: int) -> Path:
        """Return where the checkpoint of a step is, if it is committed."""
        return self._folder / _name(step)

    def staging(self, attempt: int, step: int) -> Path:
        """Return where an attempt writes the checkpoint of a step."""
        return self._staging / f"{attempt:03d}" / _name(step)

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
            raise OSError(errno.EPERM, f"attempt {newest} has taken over from attempt {attempt}")
        return folder

    def write_index(self, folder: Path, name: str, size: int, block: int, areas: tuple[Area, ...],
                    pieces: tuple[Piece, ...]) -> RankFile:
        """Put a rank file's index beside it and return how the manifest names the two."""
        text = FileIndex(block=block, areas=areas, pieces=pieces).model_dump_json().encode()
        write_atomic(folder / f"{name}.json", (text,), make_folder=False)
        return RankFile(name=name, bytes=size, index_digest=index_digest(text))

    def commit(self, manifest: Manifest) -> None:
        """Make the checkpoint exist. Raises OSError if another attempt has taken its folder away."""
        staged, final = self.staging(manifest.attempt, manifest.step), self.folder(manifest.step)
        write_atomic(staged / MANIFEST, (manifest.sealed().to_json().encode(),), make_folder=False)
        if final.exists():
            # Of another lineage: this attempt continued from an earlier step.
            self.reject(manifest.step)
        staged.rename(final)
        sync_folder(self._folder)

    def committed(self) -> list[int]:
        """Return the steps of all committed checkpoints, newest first. Raises PlatformError if that cannot be told."""
        return [step for step in self.steps() if has_manifest(self.folder(step))]

    def steps(self) -> list[int]:
        """Return the steps of all folders of checkpoints, newest first, whole or not. Raises PlatformError."""
        with reading():
            names = [path.name for path in self._folder.iterdir()] if self._folder.exists() else []
        return sorted((int(name[len("step-"):]) for name in names if NAME.fullmatch(name)), reverse=True)

    def rejected(self) -> list[str]:
        """Return the names of those that were put aside."""
        return sorted(path.name for path in self._folder.glob(".rejected/*"))

    def manifest(self, step: int) -> Manifest:
        """Return a checkpoint's manifest, the sizes of its files compared. Raises Damaged or PlatformError."""
        manifest = manifest_in(self.folder(step))
        if manifest.step != step:
            raise Damaged(f"{MANIFEST} is of step {manifest.step}")
        if self._chain is not None and self._chain(step) != manifest.chain:
            raise Damaged(f"{MANIFEST} is of another run ({manifest.run}) or plan, or saw rows left out since")
        return manifest

    def newest(self, rejected: Callable[[int, str], None], saved: int | None = None) -> int | None:
        """Return the newest step with a manifest and files of the right sizes; None if none was ever committed.

        `saved` is the step that was committed last, as the journal has it: it must not be missed in silence. What is
        not whole is put aside and told. Raises RunFailed if nothing whole is left, PlatformError if something
        cannot be read.
        """
        self._put_aside_without_manifest(rejected)
        found = self.committed()
        aside = {name.rpartition("-")[0] for name in self.rejected()}
        if saved is not None and not found and not aside:
            raise RunFailed(GONE.format(step=saved, folder=self._folder))
        if saved is not None and saved not in found and _name(saved) not in aside:
            rejected(saved, "it is not there any more")
        for step in found:
            try:
                return self.manifest(step).step
            except Damaged as error:
                self.reject(step)
                rejected(step, str(error))
        if found or aside:
            raise RunFailed(NOTHING_LEFT)
        return None

    def index(self, step: int, file: RankFile) -> FileIndex:
        """Return what is in one rank's file. Raises Damaged or PlatformError."""
        return index_in(self.folder(step), file)

    def verify(self, step: int) -> Manifest:
        """Read all of a checkpoint and check every block; return its manifest. Raises Damaged or PlatformError."""
        manifest = self.manifest(step)
        for file in manifest.files:
            verify_in(self.folder(step), file)
        return manifest

    def reject(self, step: int) -> Path:
        """Take a checkpoint out of the run and return where it is kept."""
        rejected = self._folder / ".rejected"
        rejected.mkdir(parents=True, exist_ok=True)
        place = next(path for number in range(10**6)
                     if not (path := rejected / f"{_name(step)}-{number}").exists())
        if self.folder(step).exists():
            self.folder(step).rename(place)
        return place

    def delete(self, step: int) -> None:
        """Remove a checkpoint: by one atomic act, so that it is never half there, and then its files."""
        leaving = self._folder / f"{LEAVING}{_name(step)}"
        # One of the same step may be left from a deletion that was cut short, before the run went back behind it.
        shutil.rmtree(leaving, ignore_errors=True)
        self.folder(step).rename(leaving)
        sync_folder(self._folder)
        shutil.rmtree(leaving, ignore_errors=True)

    def sweep(self) -> None:
        """Remove what deletions that were cut short have left."""
        for folder in self._folder.glob(f"{LEAVING}*"):
            shutil.rmtree(folder, ignore_errors=True)

    def _put_aside_without_manifest(self, rejected: Callable[[int, str], None]) -> None:
        # A commit brings it and a deletion takes it along, so it was lost; the rest may still be worth something.
        for step in set(self.steps()) - set(self.committed()):
            self.reject(step)
            rejected(step, f"{MANIFEST} is missing")


def _name(step: int) -> str:
    return f"step-{step:08d}"
