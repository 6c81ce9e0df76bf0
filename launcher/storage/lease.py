"""A numbered lease in a Store: of those who ask, wherever they run, one holds it.

Whoever put the highest number holds the lease. A number is put only if absent, so exactly one of those who want the
next one gets it, and numbers only grow: they tell a holder from the one before. While it holds, a heart beats in the
lease. That a holder is gone is known when it gave the lease back, when its processes are gone from this machine, or,
from other machines, when its heart has stood still for `PATIENCE_S` of the observer's own clock: clocks of hosts are
never compared.

`work_once` is one use of it: work that one process does for all the others. `storage.lock` is the other: one command
works on a run. A holder that was merely paused may go on beside its successor, so what is made under a lease must be
deterministic and put atomically, or be fenced by the number.
"""

import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

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
    others: tuple[ProcessId, ...] = ()
    """More processes that work under this claim."""
    nonce: str
    """Tells threads of one process apart."""
    since: float = 0.0
    """UTC seconds of the holder's clock: for people."""
    heard: float = 0.0
    """The same at the last beat."""
    beat: int = 0
    released: bool = False

    def here(self) -> bool:
        """Return whether the holder is on this machine, so that its processes can be looked for."""
        return self.machine == _machine()

    def gone(self) -> bool:
        """Return whether the holder is known to be at work no more."""
        return self.released or (self.here() and not self.living())

    def living(self) -> tuple[ProcessId, ...]:
        """Return the processes that still run; only known of a holder on this machine."""
        return tuple(process for process in (self.process, *self.others) if process.alive())

    def __str__(self) -> str:
        """Return who it is, for messages."""
        return f"process {self.process.pid} on {self.host}"


def claim_of(process: ProcessId, *others: ProcessId) -> Claim:
    """Return a new claim of processes on this machine."""
    return Claim(host=socket.gethostname(), machine=_machine(), process=process, others=others,
                 nonce=os.urandom(8).hex(), since=time.time(), heard=time.time())


def work_once(store: Store, name: str, find: Callable[[], T | None], make: Callable[[], T],
              waiting: Callable[[str], None] | None = None, patience_s: float = PATIENCE_S) -> T:
    """Return what `find` finds; if it finds nothing, make it, or wait for the process that is making it.

    `waiting` is told once of each holder that is waited for.
    """
    queue, heart = Queue(store, f"leases/{name}/"), Heart(patience_s)
    told = None
    while (found := find()) is None:
        number, holder = queue.highest()
        if holder is not None and not holder.gone() and not heart.stopped(holder):
            if waiting is not None and holder.nonce != told:
                waiting(str(holder))
            told = holder.nonce
            time.sleep(POLL_S)
            continue
        held = queue.take(number + 1, claim_of(process_id()))
        try:
            if held is not None and find() is None:
                return make()
        except OSError:
            # A successor, who took this process for dead, cleared its unfinished files away.
            if held is None or not held.lost():
                raise
        finally:
            if held is not None:
                held.release()
    return found


class Heart:
    """Whether a holder's heart still beats, by the clock of whoever looks."""

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._seen: Claim | None = None
        self._since = 0.0
        self.moved = False
        """Whether it was seen to beat."""

    def stopped(self, claim: Claim) -> bool:
        """Return whether nothing of the claim has moved for so long that its holder counts as dead."""
        if claim != self._seen:
            self.moved = self._seen is not None and claim.nonce == self._seen.nonce
            self._seen, self._since = claim, time.monotonic()
        return time.monotonic() - self._since > self._patience_s


class Queue:
    """The numbers of one lease."""

    def __init__(self, store: Store, prefix: str) -> None:
        self._store, self._prefix = store, prefix

    def highest(self) -> tuple[int, Claim | None]:
        """Return the highest number and its claim; 0 and None before the first."""
        while numbers := self._numbers():
            with suppress(KeyError):  # deleted since, by the holder of a higher one
                return numbers[-1], Claim.from_json(self._store.get(self._key(numbers[-1])))
        return 0, None

    def take(self, number: int, claim: Claim) -> "Held | None":
        """Hold this number; None if another has it or is past it."""
        put = self._store.put_if_absent(self._key(number), claim.to_json().encode())
        # Numbers below the highest are deleted, so putting an old one can succeed.
        if not put or not self.is_highest(number):
            return None
        for older in self._numbers()[:-1]:
            self._store.delete(self._key(older))
        return Held(self, number, claim)

    def put(self, number: int, claim: Claim) -> None:
        """Say how things are, unless a successor has taken over and deleted this number."""
        if self._store.exists(self._key(number)):
            self._store.put(self._key(number), claim.to_json().encode())

    def forget(self, number: int) -> None:
        """Let a number be as if nobody had taken it."""
        with suppress(OSError):
            self._store.delete(self._key(number))

    def is_highest(self, number: int) -> bool:
        """Return whether nobody has taken a higher number."""
        return self._numbers()[-1:] == [number]

    def _numbers(self) -> list[int]:
        return sorted(int(key.removeprefix(self._prefix).removesuffix(".json"))
                      for key in self._store.list(self._prefix))

    def _key(self, number: int) -> str:
        return f"{self._prefix}{number:06d}.json"


class Held:
    """A number that is held: its heart beats in a thread of this process until it is given back."""

    def __init__(self, queue: Queue, number: int, claim: Claim) -> None:
        self.number, self._queue, self._claim = number, queue, claim
        self._changing, self._done = threading.Lock(), threading.Event()
        self._heart = threading.Thread(target=self._beat, name="lease heartbeat", daemon=True)
        self._heart.start()

    def say(self, **changes: Any) -> None:
        """Change what the claim says."""
        with self._changing:
            self._claim = self._claim.model_copy(update=changes)
            self._queue.put(self.number, self._claim)

    def lost(self) -> bool:
        """Return whether a successor took this holder for dead."""
        return not self._queue.is_highest(self.number)

    def release(self) -> None:
        """Give the lease back."""
        self._done.set()
        self._heart.join()
        # A full disk must not hide why the work failed; that this process is gone is seen anyway.
        with suppress(OSError):
            self.say(released=True)

    def forget(self) -> None:
        """Remove what was given back."""
        self._queue.forget(self.number)

    def _beat(self) -> None:
        while not self._done.wait(BEAT_S):
            with suppress(OSError):
                self.say(beat=self._claim.beat + 1, heard=time.time())


def _machine() -> str:
    """Return what two processes must share for one to tell whether the other lives."""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    return socket.gethostname()
