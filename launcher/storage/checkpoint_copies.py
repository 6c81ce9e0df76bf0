"""What this node wrote of checkpoints in an object store, kept so that ranks that start here again need not fetch it.

    .copies/003/step-00001200/rank-000.bin    attempt 3's file of a step, and its index beside it

Decides how much is kept: what was written before the save that is under way, and that save, while the disk has room for
the next. Which checkpoint counts is told by manifests in the store alone. What is read from a copy is compared with the
manifest's digests as from there, so one that is lost, changed or of something else costs a trip to the store.
"""

import shutil
from contextlib import suppress
from pathlib import Path

from launcher.core.peer_copies import Kept
from launcher.storage.checkpoint_medium import step_in, step_name
from launcher.storage.sources import FileSource

ROOM = 1.25
"""Times what is kept of a save: so much must stay free, for the next save is about as large."""


class Copies:
    """The copies of one run on this node, which processes of all its ranks here share."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, path: Path, attempt: int, step: int) -> None:
        """Take over a file that has been uploaded, or remove it where the disk is too full. Never raises."""
        folder = self._of(attempt, step)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            path.rename(folder / path.name)
            kept = sum(file.stat().st_size for file in folder.iterdir())
            if shutil.disk_usage(folder).free < ROOM * kept:
                self.drop(attempt, step)
        except OSError:  # the upload is done, and a copy is worth no failed save
            with suppress(OSError):
                path.unlink(missing_ok=True)

    def drop(self, attempt: int, step: int) -> None:
        """Remove what is kept of a step."""
        shutil.rmtree(self._of(attempt, step), ignore_errors=True)

    def make_room(self, attempt: int, step: int) -> None:
        """Remove what a save of this step makes old: all but the newest before it."""
        for old in sorted(mark for mark in self._marks() if mark < (attempt, step))[:-1]:
            self.drop(*old)

    def forget(self) -> None:
        """Remove everything: nobody goes on with a run that is finished."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def find(self, attempt: int, step: int, name: str) -> FileSource | None:
        """Return the copy of a file, if there is one."""
        path = self._of(attempt, step) / name
        return FileSource(path) if path.is_file() else None

    def listed(self) -> dict[Kept, int]:
        """Return everything that is kept here, and its bytes."""
        found: dict[Kept, int] = {}
        for attempt, step in self._marks():
            with suppress(OSError):  # dropped while it is looked at
                found |= {Kept(attempt, step, path.name): path.stat().st_size
                          for path in self._of(attempt, step).iterdir()}
        return found

    def _of(self, attempt: int, step: int) -> Path:
        return self._folder / f"{attempt:03d}" / step_name(step)

    def _marks(self) -> list[tuple[int, int]]:
        """Return attempt and step of all that is kept."""
        found = ((path.parent.name, step_in(path.name)) for path in self._folder.glob("[0-9]*/*"))
        return [(int(attempt), step) for attempt, step in found if step is not None]
