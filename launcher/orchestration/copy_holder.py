"""A node's part in keeping copies: serves what the node wrote, and keeps in memory what the node before it wrote.

Decides when to fetch and how gently; what to fetch and to drop is `core.peer_copies`. It is told once a checkpoint is
committed, and works from a thread: a peer that is away or slow delays nobody. A process of its own, apart from the
node's agent, so that bytes on their way hold up no look at workers; `ray_holders` makes an actor of it.
"""

import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from launcher.core.document import Document
from launcher.core.peer_copies import Errand, Holding, Kept, Mark, Peer, errand
from launcher.storage.checkpoint_medium import called, step_name
from launcher.storage.checkpoints import copies_of
from launcher.storage.memory_files import MemoryFile, free_memory
from launcher.storage.peer_server import PeerServer
from launcher.storage.peer_source import PeerLink
from launcher.storage.run_dir import RunDir

log = logging.getLogger(__name__)

CHUNK = 8 << 20
AGAIN_S = 5.0
"""Before a peer is asked again that did not answer."""
NICENESS = 19


class Duty(Document):
    """What a holder keeps."""

    before: Peer | None = None
    """Where the copies of the node before it are had; None while nobody knows, and where there is none."""
    saved: Mark | None = None
    """The newest checkpoint that is committed."""


class CopyHolder:
    """One node's copies of one run, its own and its neighbour's."""

    def __init__(self, run_dir: str, address: str, free: Callable[[], int] = free_memory) -> None:
        self._own, self._free = copies_of(RunDir(run_dir)), free
        self._held: dict[Kept, MemoryFile] = {}
        self._changing, self._told = threading.Condition(), False
        self._duty, self._over = Duty(), False
        self._server = PeerServer(address, self._own.listed, self._open)
        self._thread = threading.Thread(target=self._work, name="keep", daemon=True)
        self._thread.start()

    @property
    def peer(self) -> Peer:
        """Return where this node's copies are had."""
        return self._server.peer

    def keep(self, duty: Duty) -> None:
        """Keep these from now on. Does not wait."""
        with self._changing:
            self._duty, self._told = duty, True
            self._changing.notify_all()

    def holding(self, step: int) -> Holding:
        """Return what is here of a step, on the disk and in memory."""
        with self._changing:
            found = {kept: file.bytes for kept, file in self._held.items()} | self._own.listed()
        return Holding(peer=self.peer, step=step, files={called(kept.attempt, kept.name): size
                                                         for kept, size in found.items() if kept.step == step})

    def close(self) -> None:
        """Keep and serve nothing any more."""
        with self._changing:
            self._over = True
            self._changing.notify_all()
        self._server.close()
        self._thread.join()
        self._drop(lambda kept: True)

    def _open(self, kept: Kept) -> int:
        """Return a descriptor of a file. Raises KeyError or OSError."""
        with self._changing:
            if kept in self._held:
                return self._held[kept].open()
        if (found := self._own.find(kept.attempt, kept.step, kept.name)) is None:
            raise KeyError(kept)
        return os.open(found.path, os.O_RDONLY | os.O_CLOEXEC)

    def _work(self) -> None:
        # Of this thread alone: who reads from here waits to train.
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        done = True
        while True:
            with self._changing:
                self._changing.wait_for(lambda: self._told or self._over, None if done else AGAIN_S)
                if self._over:
                    return
                duty, self._told = self._duty, False
            done = self._carry_out(duty)

    def _carry_out(self, duty: Duty) -> bool:
        """Fetch and drop what a duty asks for; return whether that is done."""
        if duty.saved is None or duty.before is None:
            return True
        link = PeerLink(duty.before)
        try:
            there = link.listing()
            held = {kept: file.bytes for kept, file in self._held.items()}
            what = errand(held, there, duty.saved, self._free())
            if what.too_large:
                log.warning("what the node before this one wrote of step %d is too large for half of the free memory "
                            "here: no copy of it is kept", duty.saved[1])
            return self._fetch_all(link, what, there)
        except OSError as error:
            log.warning("copies of step %d are not here yet: %s", duty.saved[1], error)
            return False
        finally:
            link.close()

    def _fetch_all(self, link: PeerLink, what: Errand, there: dict[Kept, int]) -> bool:
        """Raises OSError."""
        self._drop(lambda kept: kept.mark in what.first)
        for kept in what.fetch:
            if not self._fetch(link, kept, there[kept]):
                return True  # something else is wanted by now
        self._drop(lambda kept: kept.mark in what.then)
        return True

    def _fetch(self, link: PeerLink, kept: Kept, size: int) -> bool:
        """Fetch one file; return whether that was still wanted. Raises OSError."""
        file = MemoryFile(f"{step_name(kept.step)}-{called(kept.attempt, kept.name)}")  # as /proc/PID/fd shows it
        try:
            for offset in range(0, size, CHUNK):
                begun = time.monotonic()
                for data in link.read(kept, [(offset, min(CHUNK, size - offset))]):
                    file.append(data)
                # The network and this node's cores are training's: half of the time is left to it.
                with self._changing:
                    if self._changing.wait_for(lambda: self._told or self._over, time.monotonic() - begun):
                        file.close()
                        return False
            if file.bytes != size:
                raise OSError(0, "changed while it was fetched", kept.name)
        except BaseException:
            with suppress(OSError):
                file.close()
            raise
        with self._changing:
            self._held[kept] = file
        return True

    def _drop(self, unwanted: Callable[[Kept], bool]) -> None:
        with self._changing:
            for kept in [kept for kept in self._held if unwanted(kept)]:
                self._held.pop(kept).close()
