"""Where a tracker keeps what is its own, in the run directory: who the run is to it, its logs, who wrote them.

    tracking/wandb.json          the id under which the run is known, over all attempts and machines
    tracking/wandb/...           what the library writes
    tracking/tensorboard/...     event files, one for each life of a tracker
    tracking/tracker.log         what the tracker printed
    tracking/processes.json      who was at work on this host

Decides that the files of a run in an object store are written on the node and brought there. What they mean is
`report.tracker`'s.
"""

import json
import logging
import shutil
import uuid
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from launcher.storage.files import parts_of, write_atomic
from launcher.storage.process_id import ProcessId
from launcher.storage.run_dir import RunDir

log = logging.getLogger(__name__)

LOGS, EVENTS = "wandb", "tensorboard"


class TrackingFolder:
    """A run's `tracking/`."""

    def __init__(self, run: RunDir) -> None:
        self._run = run
        self.path: Path = run.path / run.TRACKING
        self.path.mkdir(parents=True, exist_ok=True)

    @property
    def log(self) -> Path:
        """Return where the tracker's output goes."""
        return self.path / "tracker.log"

    @property
    def events(self) -> Path:
        """Return where TensorBoard's event files are."""
        return self.path / EVENTS

    def identity(self) -> str:
        """Return the id of the run, drawn when it is first asked for."""
        key = f"{self._run.TRACKING}/{LOGS}.json"
        self._run.store.put_if_absent(key, json.dumps({"id": uuid.uuid4().hex[:12]}).encode())
        return str(json.loads(self._run.store.get(key))["id"])

    def fetch(self) -> None:
        """Bring what another node has written here."""
        if not self._run.remote:
            return
        for key in [key for kind in (LOGS, EVENTS) for key in self._run.store.list(f"{self._run.TRACKING}/{kind}/")]:
            here = self._run.path / key
            if not here.exists():
                write_atomic(here, (self._run.store.get(key),), durable=False)

    def bring(self) -> None:
        """Bring everything that is written here to where the run is. Raises OSError."""
        if not self._run.remote:
            return
        for path in sorted(path for kind in (LOGS, EVENTS) for path in (self.path / kind).rglob("*")):
            if path.is_file() and not path.is_symlink():
                self._run.store.put(self.key(path), parts_of(path, path.stat().st_size))

    def logs(self) -> list[Path]:
        """Return W&B's transaction logs, one for each life of a tracker, in their order."""
        found = (self.path / LOGS).glob("*run-*-*/run-*.wandb")
        # offline-run-20260101_120000-id and run-20260101_120000-id: by the time in the name.
        return sorted(found, key=lambda path: path.parent.name.removeprefix("offline-"))

    def unsent(self) -> list[Path]:
        """Return those that were written without a server, and that nobody has sent since."""
        return [path for path in self.logs() if path.parent.name.startswith("offline-")
                and not path.with_name(f"{path.name}.synced").exists()]

    def event_files(self) -> list[Path]:
        """Return TensorBoard's event files, one for each life of a tracker, in their order."""
        return sorted(self.events.glob("events.out.tfevents.*"))  # the time comes first

    def key(self, path: Path) -> str:
        """Return the key of one of these files."""
        return f"{self._run.TRACKING}/{path.relative_to(self.path)}"

    def drop(self, log_file: Path) -> None:
        """Remove a life that came to nothing."""
        shutil.rmtree(log_file.parent, ignore_errors=True)

    def remember(self, processes: Iterable[ProcessId]) -> None:
        """Note who works here: whoever follows must not begin beside them."""
        content = json.dumps([process.model_dump() for process in processes]).encode()
        write_atomic(self.path / "processes.json", (content,), durable=False)

    def remembered(self) -> list[ProcessId]:
        """Return who worked here last; on another host it is nobody, by their start times."""
        with suppress(OSError, ValueError):
            return [ProcessId.model_validate(each) for each in json.loads((self.path / "processes.json").read_bytes())]
        return []
