"""What one kind of object storage can do, in single requests that are done whole or raise.

Decides nothing: each method asks once, with a time-out, and raises whatever its library does. Asking again, parts and
parallelism are `storage.object_store`. Opened anew in each process, for none of the libraries outlives a fork.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from launcher.storage.objects.addresses import PACKAGES, S3, Address

# What one connection moves at least, unless it is stalled.
SLOWEST_BYTES_PER_S = 256 << 10


class Head(NamedTuple):
    """What is known of an object without reading it."""

    size: int
    tag: str
    """Another one whenever the content is another."""


class Upload(Protocol):
    """An object that is written in parts, and is not there before it is complete."""

    repeatable: bool
    """Whether parts may be sent again, and beside each other."""

    def part(self, number: int, data: bytes) -> str:
        """Send a part, numbered from 1; return its receipt."""
        ...

    def complete(self, receipts: list[str], *, new: bool) -> None:
        """Make the object appear; with `new` only where there is none."""
        ...

    def abort(self) -> None:
        """Take the parts away."""
        ...


class Requests(Protocol):
    """Single requests. Keys are below the store's prefix."""

    marks: bool
    """Whether objects keep the mark that they were written with."""
    most_parts: int

    def head(self, key: str) -> Head:
        """Return size and tag."""
        ...

    def begin(self, key: str, size: int) -> tuple[bytes, Head]:
        """Return the first bytes, at most `size`, and what is known of the whole."""
        ...

    def read(self, key: str, begin: int, end: int, tag: str = "") -> bytes:
        """Return the bytes from `begin` to `end`, fewer at the object's end; with a tag only of that content."""
        ...

    def write(self, key: str, data: bytes, mark: str, *, new: bool) -> None:
        """Make an object of these bytes; with `new` only where there is none."""
        ...

    def mark(self, key: str) -> str:
        """Return the mark that an object was written with."""
        ...

    def upload(self, key: str, mark: str, *, new: bool) -> Upload:
        """Begin an object that is written in parts."""
        ...

    def delete(self, key: str) -> None:
        """Remove an object."""
        ...

    def page(self, prefix: str, after: str) -> tuple[list[str], str]:
        """Return some of the keys with a prefix, and what to give as `after` for the next ones; empty at the end."""
        ...

    def unfinished(self, prefix: str) -> Sequence[Upload]:
        """Return the uploads below a prefix that were neither completed nor aborted."""
        ...


def requests_to(address: Address, timeout_s: float, parallel: int) -> Requests:
    """Return what talks to a store. Imports its library."""
    if PACKAGES[address.scheme] == S3:
        from launcher.storage.objects.s3_requests import S3Requests

        return S3Requests(address, timeout_s, parallel)
    from launcher.storage.objects.fsspec_requests import FsspecRequests

    return FsspecRequests(address, timeout_s)


def run_within(system: Any, coroutine: Callable[..., Any], timeout_s: float, size: int, *args: Any, **more: Any) -> Any:
    """Return what a coroutine of an fsspec file system gives, run in fsspec's own thread, or raise FSTimeoutError.

    Whatever loop the caller may be in is not touched. A request that is given up is cancelled, its connection closed.
    """
    from fsspec.asyn import sync  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]

    return sync(system.loop, coroutine, *args, timeout=timeout_s + size / SLOWEST_BYTES_PER_S, **more)
