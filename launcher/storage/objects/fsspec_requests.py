"""Requests to any other object storage, through what every file system of fsspec offers.

Decides what stands in for what not all of them have: an object in parts is collected in a file on this node and sent
whole, so that it can be sent again; objects keep no mark, so `objects.writing` compares content. A put only where there
is nothing is one request on gs:// and az://, and what ends a large one's upload. On memory:// a lock makes it one among
this process's threads, and a large object is looked for first. How file systems are opened is `objects.file_systems`.
"""

import inspect
import os
import threading
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from launcher.storage.objects.addresses import Address
from launcher.storage.objects.file_systems import file_system
from launcher.storage.objects.local_copies import scratch
from launcher.storage.objects.requests import Head, run_within
from launcher.storage.objects.trouble import Kind, Trouble, refusal

# Each kind of storage has its own word for what changes with the content.
TAGS = ("etag", "ETag", "generation", "md5Hash", "content_md5", "mtime", "last_modified", "updated", "created")
ONE_PUT = threading.Lock()


class FsspecRequests:
    """One file system."""

    marks = False
    most_parts = 1 << 31

    def __init__(self, address: Address, timeout_s: float) -> None:
        self._system: Any = file_system(address)
        self._address, self._root, self._timeout_s = address, address.path, timeout_s
        self._bucket_seen = not self._system.async_impl  # Others make folders as they are needed.

    def head(self, key: str) -> Head:
        """Return size and whatever changes with the content."""
        # What was known is not asked for again by some, whatever they were told of caches.
        self._system.invalidate_cache()
        said = self._ask("info", 0, self._path(key))
        if said.get("type") != "file":
            raise FileNotFoundError(key)
        return Head(int(said["size"]), " ".join(str(said[name]) for name in TAGS if said.get(name) is not None))

    def begin(self, key: str, size: int) -> tuple[bytes, Head]:
        """Return what is known and the first bytes, both of one moment."""
        head = self.head(key)
        return self.read(key, 0, min(size, head.size), head.tag), head

    def read(self, key: str, begin: int, end: int, tag: str = "") -> bytes:
        """Return a range. Whether it is still the same object is asked afterwards."""
        data = b"" if begin == end else bytes(self._ask("cat_file", end - begin, self._path(key), start=begin, end=end))
        if tag and self.head(key).tag != tag:
            raise FileExistsError(key)
        return data

    def write(self, key: str, data: bytes, mark: str, *, new: bool) -> None:
        """Put an object; with `new` in the way that this file system has."""
        if not new:
            self._ask("pipe_file", len(data), self._path(key), data)
        elif not self._system.async_impl:
            with ONE_PUT:
                self._system.pipe_file(self._path(key), data, mode="create")
        else:
            self._ask("pipe_file", len(data), self._path(key), data, **self._only_new("pipe_file"))

    def mark(self, key: str) -> str:
        """Return nothing: no mark is kept."""
        return ""

    def upload(self, key: str, mark: str, *, new: bool) -> "Collected":
        """Begin to collect an object."""
        return Collected(self, key)

    def send(self, key: str, path: str, size: int, *, new: bool) -> None:
        """Make an object of a local file."""
        if self._system.async_impl:
            self._ask("put_file", size, path, self._path(key), **(self._only_new("put_file") if new else {}))
        elif new and self._system.exists(self._path(key)):
            raise FileExistsError(key)
        else:
            # Others show what they have written so far.
            self.write(key, Path(path).read_bytes(), "", new=False)

    def delete(self, key: str) -> None:
        """Remove an object."""
        self._ask("rm_file", 0, self._path(key))

    def page(self, prefix: str, after: str) -> tuple[list[str], str]:
        """Return all keys with a prefix at once."""
        self._system.invalidate_cache()
        folder = self._path(prefix.rpartition("/")[0]).rstrip("/")
        names: list[str] = []
        with suppress(FileNotFoundError):
            names = [str(name).strip("/") for name in self._ask("find", 0, folder)]
        if not names:
            self._see_bucket()
        keys = (name.removeprefix(f"{self._root}/") for name in names)
        return sorted(key for key in keys if key.startswith(prefix)), ""

    def unfinished(self, prefix: str) -> list["Collected"]:
        """Return nothing: what was collected is gone with its process."""
        return []

    def _path(self, key: str) -> str:
        return f"{self._root}/{key}"

    def _only_new(self, method: str) -> dict[str, Any]:
        """Return what makes a request fail where there is an object."""
        named = inspect.signature(getattr(self._system, f"_{method}")).parameters
        return {"mode": "create"} if "mode" in named else {"overwrite": False}

    def _ask(self, method: str, size: int, *args: Any, **more: Any) -> Any:
        if not self._system.async_impl:
            return getattr(self._system, method)(*args, **more)
        try:
            return self._within(method, size, *args, **more)
        except FileNotFoundError as error:
            missing = error
        # Out of the handler, as in `objects.retries`.
        self._see_bucket()
        raise missing

    def _within(self, method: str, size: int, *args: Any, **more: Any) -> Any:
        return run_within(self._system, getattr(self._system, f"_{method}"), self._timeout_s, size, *args, **more)

    def _see_bucket(self) -> None:
        """Tell once whether it is the whole bucket that is missing: of an object's absence answers look the same."""
        if self._bucket_seen:
            return
        try:
            self._within("info", 0, self._root.partition("/")[0])
            self._bucket_seen = True
        except FileNotFoundError:
            missing = True
        except Exception:
            # Whoever may use objects need not be allowed to look at the bucket.
            missing = False
        else:
            missing = False
        if missing:
            raise refusal(self._address, "", Trouble(Kind.NO_BUCKET, "not found"))


class Collected:
    """An object that is collected on this node, in a file that nobody else sees."""

    repeatable = False

    def __init__(self, requests: FsspecRequests, key: str) -> None:
        self._requests, self._key, self._file = requests, key, TemporaryFile(dir=scratch())  # noqa: SIM115

    def part(self, number: int, data: bytes) -> str:
        """Add a part."""
        self._file.write(data)
        return ""

    def complete(self, receipts: list[str], *, new: bool) -> None:
        """Send all of it."""
        self._file.flush()
        # By its number, for it has no name.
        path = f"/proc/self/fd/{self._file.fileno()}"
        self._requests.send(self._key, path, os.fstat(self._file.fileno()).st_size, new=new)
        self._file.close()

    def abort(self) -> None:
        """Let it go."""
        self._file.close()
