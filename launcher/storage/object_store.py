"""The Store in object storage: s3://, gs://, az://, and memory:// in tests.

Decides which requests a Store's words come to. Each is asked for again while what is wrong may pass, up to a stated
time (`Settings`), then raises OSError with the object's URL as its filename; what a person has to mend (no such bucket,
no credentials) raises a UserError that is an OSError too. Nothing is kept between requests, so listings and answers are
never older than the storage's own.

- `put_if_absent` is decided by the storage on S3, Google and Azure: of many who ask at once one is told yes. A try
  whose answer was lost is known by a mark in the object (S3) or by its content (elsewhere). Large objects outside S3
  are looked for first, and of two put at once the later may win.
- An object above a part's size goes up in parts, which only S3 takes one by one; elsewhere it is collected on this
  node's scratch first, so that it can be sent again.
- Bytes are counted and limited for each process that has the store.
- A put that was given up for its time may come to be later, over what was put since: readers of a key that is put again
  and again must be able to live with an older word for a moment.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from launcher.storage.objects import reading, writing
from launcher.storage.objects.addresses import address_of, check_installed
from launcher.storage.objects.link import Link, Settings
from launcher.storage.objects.local_copies import LocalCopies
from launcher.storage.store import Content, Span, check_key


class ObjectStore:
    """A bucket, or a folder in one. Safe for threads and forks; goes to other processes as its URL and settings."""

    def __init__(self, url: str, settings: Settings | None = None) -> None:
        """Take a URL. Raises UserError if it is none, or its package is missing; the network is not touched."""
        self._address = address_of(url)
        check_installed(self._address)
        self.url = self._address.url
        self._settings = settings or Settings()
        self._links: dict[int, Link] = {}

    def __reduce__(self) -> tuple[type["ObjectStore"], tuple[str, Settings]]:
        """Leave connections behind."""
        return ObjectStore, (self.url, self._settings)

    @property
    def read_bytes(self) -> int:
        """Return how many bytes of objects this process has read here."""
        return self._link().down.bytes

    @property
    def written_bytes(self) -> int:
        """Return how many bytes of objects this process has written here."""
        return self._link().up.bytes

    def put(self, key: str, content: Content) -> None:
        """Store an object atomically and durably, replacing any of the same key."""
        writing.put(self._link(key), key, content, new=False)

    def put_if_absent(self, key: str, content: Content) -> bool:
        """Store an object unless the key exists; return whether it was stored by this call."""
        # Looked for first: what is there needs no upload, and a lost race is still told by the put itself.
        return not self.exists(key) and writing.put(self._link(key), key, content, new=True)

    def get(self, key: str) -> bytes:
        """Return an object's whole content, of one moment."""
        return reading.get(self._link(key), key)

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset`; fewer at the object's end."""
        return self.get_ranges(key, [(offset, length)])[0]

    def get_ranges(self, key: str, spans: Sequence[Span]) -> list[bytes]:
        """Return several ranges, read side by side; those that touch in one request."""
        return reading.get_ranges(self._link(key), key, spans)

    def size(self, key: str) -> int:
        """Return an object's size in bytes."""
        link = self._link(key)
        return link.ask(key, lambda: link.requests.head(key)).size

    def exists(self, key: str) -> bool:
        """Return whether the key has an object."""
        try:
            self.size(key)
        except KeyError:
            return False
        return True

    def list(self, prefix: str = "") -> Iterator[str]:
        """Yield the keys that begin with a prefix, in order; all pages are asked for before the first is given."""
        yield from reading.keys(self._link(), prefix)

    def delete(self, key: str) -> None:
        """Remove an object; a missing one is no error."""
        link = self._link(key)
        with suppress(KeyError):
            link.ask(key, lambda: link.requests.delete(key))

    def local(self, key: str) -> Path:
        """Return this node's copy of an object, downloaded unless it is there: see `objects.local_copies`."""
        link = self._link(key)
        return reading.steady_head(link, key, lambda head: LocalCopies(self.url).file(
            key, head, lambda file, known: reading.fetch(link, key, known, file)))

    def sweep(self, prefix: str) -> None:
        """Abort the uploads that killed processes left unfinished below a prefix. Only for its one writer."""
        link = self._link()
        for upload in link.ask(prefix, lambda: link.requests.unfinished(prefix)):
            with suppress(KeyError):  # completed or aborted since
                link.ask(prefix, upload.abort)

    def _link(self, key: str | None = None) -> Link:
        """Return this process's link. Raises ValueError for what is not a key."""
        if key is not None:
            check_key(key)
        process = os.getpid()
        # The parent's stays where it is: to close it from here would close its connections.
        if process not in self._links:
            self._links.setdefault(process, Link(self._address, self._settings))
        return self._links[process]
