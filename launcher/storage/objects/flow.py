"""How many bytes went one way, and how fast they may: a token bucket that is off unless a rate is given."""

import threading
import time
from collections.abc import Callable


class Flow:
    """The bytes of one direction, of all threads of this process."""

    def __init__(self, bytes_per_s: float | None = None, *, clock: Callable[[], float] = time.monotonic,
                 sleep: Callable[[float], None] = time.sleep) -> None:
        self.bytes = 0
        """That arrived, or were taken, whole: what a failed request moved is not known."""
        self._rate, self._clock, self._sleep = bytes_per_s, clock, sleep
        self._lock, self._free_at = threading.Lock(), 0.0

    def wait(self, size: int) -> None:
        """Wait until so many bytes may follow all that were let through before."""
        if self._rate is None:
            return
        with self._lock:
            begin = max(self._clock(), self._free_at)
            self._free_at = begin + size / self._rate
        self._sleep(max(0.0, begin - self._clock()))

    def count(self, size: int) -> None:
        """Count bytes that went through."""
        with self._lock:
            self.bytes += size
