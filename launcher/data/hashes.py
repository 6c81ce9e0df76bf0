"""Hashes of files' contents, remembered so that a large file is read for its hash once.

Decides when a remembered hash still holds. What the hashes go into is `data.identity`.
"""

import os
import time
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO

from launcher.core.document import fingerprint
from launcher.storage.store import Store

Stamp = tuple[int | str, ...]
"""What changes when a file is written. Of a local one: size, time in nanoseconds, inode."""

# A file written again within its clock's tick keeps size and time; a hash is remembered once it is older than this.
SETTLED_S = 2.0
CHUNK_BYTES = 1 << 20
# To hash less takes less time than to put its hash away; a source may be very many such files.
WORTH_REMEMBERING_BYTES = 1 << 17


def content_hash(path: Path, store: Store) -> str:
    """Return the hash of a file's content, remembered in the store by path, size, time and inode."""
    stamp = stamp_of(path)
    if int(stamp[0]) < WORTH_REMEMBERING_BYTES:
        with path.open("rb") as file:
            return hash_of(chunks(file))
    # A name need not be text: its bytes are written out.
    key = f"hashes/{fingerprint(ascii(str(path)), *stamp)}"
    try:
        return store.get(key).decode()
    except KeyError:
        with path.open("rb") as file:
            digest = hash_of(chunks(file))
    if stamp == stamp_of(path) and time.time() - int(stamp[1]) / 1e9 > SETTLED_S:
        store.put(key, digest.encode())
    return digest


def stamp_of(path: Path) -> Stamp:
    """Return what changes when a local file is written."""
    status = os.stat(path)  # noqa: PTH116  (one call for the three)
    return status.st_size, status.st_mtime_ns, status.st_ino


def hash_of(data: Iterable[bytes]) -> str:
    """Return the hash of bytes that come in pieces."""
    digest = blake2b(digest_size=16)
    for chunk in data:
        digest.update(chunk)
    return digest.hexdigest()


def chunks(file: BinaryIO) -> Iterable[bytes]:
    """Yield a file's bytes."""
    while chunk := file.read(CHUNK_BYTES):
        yield chunk
