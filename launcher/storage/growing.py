"""Files of a run that grow while it works: read from where they are newest, and brought along in an object store.

An object cannot be appended to. So the processes that write these files write on their own node, a mirror puts them
into the store whenever they have grown, and readers elsewhere see them a moment later. What is lost of a journal with
its node is told again by what the checkpoints prove (`orchestration.recovering`).
"""

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress

from launcher.storage.files import PART, parts_of, write_atomic
from launcher.storage.run_dir import RunDir

log = logging.getLogger(__name__)

LOOK_S = 2.0
"""Between looks at files that may have grown."""
HERE_S = 0.2
"""The same on a file system."""
SHARE = 10.0
"""For how many times as long as its last upload took a file waits for the next: a long one must not fill the line."""
CLOSE_S = 20.0
"""For the last words of a run to reach a store that is slow or away."""


class Growing:
    """Reads one file as it grows."""

    def __init__(self, run: RunDir, key: str) -> None:
        self._run, self._key, self.offset = run, key, 0

    def new(self) -> Iterator[bytes]:
        """Yield what was written since the last call, in parts that a process has room for; nothing if there is no such
        file yet. Raises OSError."""
        # What is short is the last: in a store another look is another request.
        while data := self._read():
            yield data
            if len(data) < PART:
                return

    def _read(self) -> bytes:
        data = b""
        with suppress(KeyError, FileNotFoundError):
            if self._run.remote and not self._run.working:
                data = self._run.store.get_range(self._key, self.offset, PART)
            else:
                with (self._run.path / self._key).open("rb") as file:
                    file.seek(self.offset)
                    data = file.read(PART)
        self.offset += len(data)
        return data


def pause_s(run: RunDir) -> float:
    """Return how long to wait between looks at a run: each costs a request or more where it is in a store."""
    return LOOK_S if run.remote and not run.working else HERE_S


class Mirror:
    """Puts files of this node into a remote run's store whenever they have grown, from a thread."""

    def __init__(self, run: RunDir, keys: Sequence[str] = ()) -> None:
        self._run, self._files = run, dict[str, _Mirrored]()
        self._changing, self._done = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="mirror", daemon=True)
        self.take(*keys)
        self._thread.start()

    def close(self) -> None:
        """Bring what is there, for as long as that may take, and end."""
        self._done.set()
        self._thread.join(CLOSE_S)

    def take(self, *keys: str) -> None:
        """Bring these files along, too, from now on; they need not be there yet."""
        with self._changing:
            for key in keys:
                self._files.setdefault(key, _Mirrored(self._run, key))

    def _work(self) -> None:
        until = float("inf")
        while time.monotonic() < until:
            done = self._done.wait(LOOK_S)
            if done and until == float("inf"):
                until = time.monotonic() + CLOSE_S
            with self._changing:
                files = list(self._files.values())
            brought = [each.bring(last=done) for each in files]
            if done and all(brought):
                return


class _Mirrored:
    """One file."""

    def __init__(self, run: RunDir, key: str) -> None:
        self._run, self._key, self._path = run, key, run.path / key
        self._size, self._due = -1, 0.0

    def bring(self, *, last: bool) -> bool:
        """Put the file into the store if it has grown and it is time to, or the `last` one; return whether the store
        has all of it, or will be asked again."""
        # Empty ones too: that there is one says that somebody was there.
        size = self._path.stat().st_size if self._path.is_file() else self._size
        if size == self._size or (not last and time.monotonic() < self._due):
            return True
        began = time.monotonic()
        try:
            self._run.store.put(self._key, parts_of(self._path, size))
        except OSError as error:
            log.warning("%s does not reach %s yet: %s", self._key, self._run.url, error)
            self._due = time.monotonic() + LOOK_S
            return False
        self._size, self._due = size, time.monotonic() + SHARE * (time.monotonic() - began)
        return True


def adopt(run: RunDir, key: str) -> None:
    """Make this node's copy of a growing file the newest there is, for who goes on writing it.

    A copy that goes on where the store's ends was written here, before a crash; any other is of an earlier life.
    """
    path = run.path / key
    try:
        stored = run.store.get(key)
    except KeyError:
        stored = b""
    if path.is_file() and path.read_bytes().startswith(stored):
        return
    write_atomic(path, (stored,))
