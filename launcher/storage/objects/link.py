"""What one process has of one object storage: its requests, its threads, what it moved and how fast it may.

Decides nothing of objects. Opened anew after a fork: connections, locks and fsspec's thread stay with the parent.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TypeVar

from launcher.storage.objects.addresses import Address
from launcher.storage.objects.flow import Flow
from launcher.storage.objects.requests import Requests, requests_to
from launcher.storage.objects.retries import Retries

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True)
class Settings:
    """How a store is talked to."""

    patience_s: float = 120.0
    """How long one request is tried again while what is wrong may pass. A large object is many requests."""
    timeout_s: float = 20.0
    """How long an answer may be silent. A part has time for its size besides."""
    part_bytes: int = 32 << 20
    """What is moved in one request at most. S3 takes 10,000 parts of one object, so 312 GiB with these."""
    parallel: int = 8
    """Requests at once for parts and ranges."""
    upload_bytes_per_s: float | None = None
    download_bytes_per_s: float | None = None


class Link:
    """One process's side. Safe for threads."""

    def __init__(self, address: Address, settings: Settings) -> None:
        self.address, self.settings = address, settings
        self.requests: Requests = requests_to(address, settings.timeout_s, settings.parallel)
        self.up, self.down = Flow(settings.upload_bytes_per_s), Flow(settings.download_bytes_per_s)
        self._retries = Retries(address, settings.patience_s)
        self._threads = ThreadPoolExecutor(settings.parallel, "object storage")

    def ask(self, key: str, request: Callable[[], T]) -> T:
        """Return what a request gives, asked for again while that may help: see `Retries.ask`."""
        return self._retries.ask(key, request)

    def send(self, key: str, size: int, request: Callable[[], T]) -> T:
        """Ask for something that sends so many bytes, as fast as is allowed."""
        self.up.wait(size)
        found = self.ask(key, request)
        self.up.count(size)
        return found

    def read(self, key: str, begin: int, end: int, tag: str = "") -> bytes:
        """Return a range in one request, as fast as is allowed. Raises as `Retries.ask`."""
        self.down.wait(end - begin)
        data = self.ask(key, lambda: self.requests.read(key, begin, end, tag))
        self.down.count(len(data))
        return data

    def side_by_side(self, work: Callable[[U], T], items: Iterable[U]) -> Iterator[T]:
        """Yield the result of each item, in order, some at once and none taken before there is a thread for it.

        Nothing is under way any more when it ends, however it ends. `work` must not come back here: threads that wait
        for threads wait for ever.
        """
        under_way: deque[Future[T]] = deque()
        try:
            for item in items:
                if len(under_way) == self.settings.parallel:
                    yield under_way.popleft().result()
                under_way.append(self._threads.submit(work, item))
            while under_way:
                yield under_way.popleft().result()
        finally:
            for each in under_way:
                each.cancel()
            wait(under_way)
