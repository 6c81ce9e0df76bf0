"""One controller per run: who holds a run directory, on this host or another.

Decides when a lock is stale: its process is gone from this host. A lock held on another host is believed. A lease
that other hosts can outlast comes with later versions.
"""

import fcntl
import socket
from collections.abc import Generator
from contextlib import contextmanager

from launcher.core.document import Document
from launcher.core.errors import UserError
from launcher.storage.process_id import ProcessId
from launcher.storage.run_dir import RunDir

KEY = "lock.json"


class Holder(Document):
    """The controller that has the run."""

    host: str
    process: ProcessId

    def alive(self) -> bool:
        """Return whether the holder may still be at work."""
        return self.host != socket.gethostname() or self.process.alive()

    def __str__(self) -> str:
        """Return who it is, for messages."""
        return f"process {self.process.pid} on {self.host}"


def holder_of(run: RunDir) -> Holder | None:
    """Return the controller that has the run now, or None."""
    try:
        holder = Holder.from_json(run.store.get(KEY))
    except KeyError:
        return None
    return holder if holder.alive() else None


def refuse_held(run: RunDir) -> None:
    """Raise UserError, which says who it is, if a controller has the run now."""
    if (other := holder_of(run)) is not None:
        raise UserError(f"{run.url}: the run is being worked on by {other}. Wait for it, or stop it (Ctrl-C in its "
                        f"terminal); `launcher status {run.url}` shows it.")


def take_lock(run: RunDir, process: ProcessId) -> Holder:
    """Take the run for a controller process. Raises UserError that says who has it."""
    mine = Holder(host=socket.gethostname(), process=process)
    with _guard(run):
        refuse_held(run)
        run.store.put(KEY, mine.to_json().encode())
    return mine


def release_lock(run: RunDir, mine: Holder) -> None:
    """Give the run back, if it is still held by this holder."""
    with _guard(run):
        if holder_of(run) in (mine, None):
            run.store.delete(KEY)


@contextmanager
def _guard(run: RunDir) -> Generator[None]:
    """Let one process at a time look at the lock and replace it: two that both saw a stale one would both win."""
    run.path.mkdir(parents=True, exist_ok=True)
    with (run.path / ".lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
