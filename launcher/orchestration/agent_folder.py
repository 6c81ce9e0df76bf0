"""The folder of a node's agent, and what dead agents left of theirs.

Decides whose folder is nobody's any more: the kernel tells, by a lock that an agent holds as long as it lives, and by
the other end of its workers' lifelines. Pids would not do, because containers share /tmp and not their pids. What lies
in the folder is `node_agent`'s and its workers'.
"""

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

PREFIX = "lr-"
LOCK = "held"
"""In an agent's folder. Folders without it are others'."""


class AgentFolder:
    """A new node-local folder, held until it is removed or this process ends."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX))
        # Locked before it has its name: whoever sweeps takes what is not locked for a dead agent's.
        unnamed = self.path / f".{LOCK}"
        self._lock: int | None = os.open(unnamed, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        unnamed.rename(self.path / LOCK)

    def remove(self) -> None:
        """Remove the folder; once more does nothing."""
        if self._lock is not None:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._lock)
            self._lock = None


def sweep() -> list[Path]:
    """Remove the folders of agents that were killed, once their workers have left too; return them."""
    left = [folder for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*") if _is_nobodys(folder)]
    for folder in left:
        shutil.rmtree(folder, ignore_errors=True)
    return left


def _is_nobodys(folder: Path) -> bool:
    try:
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CLOEXEC)
    except OSError:  # Not an agent's, another user's, or removed meanwhile.
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(lock)
    return not any(_is_held(lifeline) for lifeline in folder.glob("worker-*/lifeline"))


def _is_held(lifeline: Path) -> bool:
    """Return whether a worker still has its lifeline open."""
    with suppress(OSError):
        os.close(os.open(lifeline, os.O_WRONLY | os.O_NONBLOCK))
        return True
    return False
