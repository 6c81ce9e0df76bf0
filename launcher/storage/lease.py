"""Work that one process does for all the others, wherever they run: a numbered lease in a Store.

Whoever put the highest number holds the lease. It is free again when its holder gave it back, when the holder's
process is gone from this host, or when its heartbeat has not moved for `PATIENCE_S` of the waiter's own clock (clocks
of hosts are never compared). The next number is put only if absent, so exactly one of those who wait takes over. A
holder that was merely paused may work on beside its successor: what is made under a lease must be deterministic and
put atomically, so double work is harmless. What the work is, is the caller's.
"""

import os
import socket
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from launcher.core.document import Document
from launcher.storage.process_id import ProcessId, process_id
from launcher.storage.store import Store

T = TypeVar("T")

BEAT_S = 5.0
# A few missed beats: a shared file system may stall, and a holder may be deep in a sort.
PATIENCE_S = 30.0
POLL_S = 0.2


class Claim(Document):
    """What a holder says of itself."""

    host: str
    machine: str
    """One boot of one machine, as far as process ids reach: containers on a host have their own."""
    process: ProcessId
    nonce: str
    """Tells threads of one process apart."""
    beat: int = 0
    released: bool = False

    def gone(self) -> bool:
        """Return whether the holder is known to be at work no more."""
        return self.released or (self.machine == _machine() and not self.process.alive())

    def __str__(self) -> str:
        """Return who it is, for messages."""
        return f"process {self.process.pid} on {self.host}"


def work_once(store: Store, name: str, find: Callable[[], T | None], make: Callable[[], T],
              waiting: Callable[[str], None] | None = None, patience_s: float = PATIENCE_S) -> T:
    """Return what `find` finds; if it finds nothing, make it, or wait for the process that is making it.

    `waiting` is told once of each holder that is waited for.
    """
    queue = _Queue(store, f"leases/{name}/", patience_s)
    told = None
    while (found := find()) is None:
        number, holder = queue.look()
        if holder is not None:
            if waiting is not None and holder.nonce != told:
                waiting(str(holder))
            told = holder.nonce
            time.sleep(POLL_S)
            continue
        with queue.take(number + 1) as taken:
            if not taken or find() is not None:
                continue
            try:
                return make()
            except OSError:
                # A successor, who took this process for dead, cleared its unfinished files away.
                if queue.look()[0] == number + 1:
                    raise
    return found


class _Queue:
    """The numbers of one lease, and what this waiter has seen of them."""

    def __init__(self, store: Store, prefix: str, patience_s: float) -> None:
        self._store, self._prefix, self._patience_s = store, prefix, patience_s
        self._seen: tuple[int, Claim] | None = None
        self._since = 0.0

    def look(self) -> tuple[int, Claim | None]:
        """Return the highest number, and its holder unless the lease is free."""
        number, claim = self._highest()
        if claim is None or claim.gone():
            return number, None
        if (number, claim) != self._seen:
            self._seen, self._since = (number, claim), time.monotonic()
        return number, None if time.monotonic() - self._since > self._patience_s else claim

    @contextmanager
    def take(self, number: int) -> Generator[bool]:
        """Hold this number for the time of the block; gives False if another has it or is past it."""
        claim = Claim(host=socket.gethostname(), machine=_machine(), process=process_id(), nonce=os.urandom(8).hex())
        put = self._store.put_if_absent(self._key(number), claim.to_json().encode())
        # Numbers below the highest are deleted, so putting an old one can succeed.
        if not put or self._numbers()[-1] != number:
            yield False
            return
        for older in self._numbers()[:-1]:
            self._store.delete(self._key(older))
        done = threading.Event()
        heart = threading.Thread(target=self._beat, args=(number, claim, done), name="lease heartbeat", daemon=True)
        heart.start()
        try:
            yield True
        finally:
            done.set()
            heart.join()
            # A full disk must not hide why the work failed; that this process is gone is seen anyway.
            with suppress(OSError):
                self._put(number, claim.model_copy(update={"released": True}))

    def _beat(self, number: int, claim: Claim, done: threading.Event) -> None:
        beats = 0
        while not done.wait(BEAT_S):
            beats += 1
            with suppress(OSError):
                self._put(number, claim.model_copy(update={"beat": beats}))

    def _put(self, number: int, claim: Claim) -> None:
        """Say how things are, unless a successor has taken over and deleted this number."""
        if self._store.exists(self._key(number)):
            self._store.put(self._key(number), claim.to_json().encode())

    def _highest(self) -> tuple[int, Claim | None]:
        while numbers := self._numbers():
            with suppress(KeyError):  # deleted since, by the holder of a higher one
                return numbers[-1], Claim.from_json(self._store.get(self._key(numbers[-1])))
        return 0, None

    def _numbers(self) -> list[int]:
        return sorted(int(key.removeprefix(self._prefix).removesuffix(".json"))
                      for key in self._store.list(self._prefix))

    def _key(self, number: int) -> str:
        return f"{self._prefix}{number:06d}.json"


def _machine() -> str:
    """Return what two processes must share for one to tell whether the other lives."""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    return socket.gethostname()
