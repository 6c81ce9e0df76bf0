"""A run in a store as its nodes see it: one store, and for each node a disk of its own."""

from pathlib import Path

from launcher.storage.run_dir import RunDir
from launcher.storage.store import LocalStore


class StoreRun:
    """The run. The store is a folder here: what an object store does in its place is told in test_object_store."""

    def __init__(self, folder: Path) -> None:
        self.store = LocalStore(folder / "bucket")
        self._folder = folder

    def seen_by(self, node: str, *, working: bool = False) -> RunDir:
        """Return the run directory as processes of a node see it."""
        run = RunDir(self.store.url)
        run.store, run.remote, run.path, run.working = self.store, True, self._folder / node, working
        return run
