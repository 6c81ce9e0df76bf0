"""An open file: unpacked if it is compressed, with what is needed to tell how far it is read and what it looks like.

Decides by the first bytes whether and how a file is compressed, because names lie: a server unpacks what it sends, and
a failed download leaves an error page under the right name.
"""

import bz2
import gzip
import io
import lzma
import zlib
from typing import Any, BinaryIO, cast

from launcher.core.errors import DataInvalid
from launcher.storage.data_paths import COMPRESSED_SUFFIXES

BUFFER_BYTES = 1 << 20
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# Small, because what precedes damage within a buffer is lost with it, and messages say behind which row it is.
UNPACKED_BYTES = 1 << 16
MAGIC = {".gz": b"\x1f\x8b", ".bz2": b"BZh", ".xz": b"\xfd7zXZ\x00", ".zst": b"\x28\xb5\x2f\xfd"}
DAMAGED = (EOFError, zlib.error, lzma.LZMAError)
"""What the libraries raise for compressed data that is cut off or altered, beside OSError."""


class OpenFile:
    """A file's bytes, unpacked."""

    def __init__(self, path: str, raw: BinaryIO, buffer: int = BUFFER_BYTES) -> None:
        """Take a file that was opened for reading. Raises DataInvalid if it is not what its name says."""
        self.path = path
        self.raw = raw
        self._packed = io.BufferedReader(cast(io.RawIOBase, raw), buffer)
        self.compression = _compression(path, self._packed.peek(16)[:16])
        self.stream = self._packed if self.compression is None else io.BufferedReader(
            _Pieces(_unpacked(self.compression, self._packed)), UNPACKED_BYTES)
        self.row = 0
        """The number of the last row that was read whole, for messages about damage after it."""

    @property
    def position(self) -> int:
        """Return how many bytes of the file, as it lies there, are read."""
        return self._packed.tell()

    def head(self) -> bytes:
        """Return the first bytes, unpacked and without a byte order mark. To be called before anything is read."""
        return self.stream.peek(256)[:BUFFER_BYTES].removeprefix(BYTE_ORDER_MARK)


class _Pieces(io.RawIOBase):
    """Unpacked bytes as they come: the libraries' own `readinto` goes on to the damage and loses what is before it."""

    def __init__(self, unpacked: Any) -> None:
        super().__init__()
        self._unpacked = unpacked

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer as far as the next piece goes."""
        data = self._unpacked.read1(len(buffer))
        buffer[:len(data)] = data
        return len(data)


def _compression(path: str, head: bytes) -> str | None:
    found = next((suffix for suffix, magic in MAGIC.items() if head.startswith(magic)), None)
    named = next((suffix for suffix in COMPRESSED_SUFFIXES if path.lower().endswith(suffix)), None)
    page = "; it looks like a web page" if head.lstrip()[:1] == b"<" else ""
    # A server that calls the packing its own way of sending has it undone on arrival.
    sent = path.startswith(("http://", "https://")) and not page
    if head and named is not None and found is None and not sent:
        raise DataInvalid(f"{path}: is named {named} but is not compressed so{page}; fetch it again, or rename it")
    return found


def _unpacked(compression: str, packed: BinaryIO) -> Any:
    match compression:
        case ".gz":
            return gzip.GzipFile(fileobj=packed)
        case ".bz2":
            return bz2.BZ2File(packed)
        case ".xz":
            return lzma.LZMAFile(packed)
        case _:
            import pyarrow

            return pyarrow.CompressedInputStream(packed, "zstd")
