"""Whether machines see one folder, and how fast they write there: a small exchange of files that is taken away again.

The machine of the command puts a file there, every machine reads it and writes its own while the others write theirs,
then each looks for the others'. Who calls when is `doctor_job`.
"""

import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from launcher.core.site_facts import Folder

PREFIX = ".launcher-doctor-"
SIZE, CHUNK = 64 * 2**20, 2**20
LONGEST_S = 30.0
"""Of writing: on a very slow file system less is written."""
FIRST = "here"
"""The name of the file from the machine of the command."""
FIRST_S, SEE_S, POLL_S = 8.0, 40.0, 0.5
"""Network file systems show a new name late, in a folder that was listed before up to half a minute."""


def put(folder: str, nonce: str) -> None:
    """Make the exchange in a folder, with the first file. Raises OSError."""
    place = _place(folder, nonce)
    place.mkdir(parents=True)
    (place / FIRST).write_text(nonce)


def clear(folder: str, nonce: str) -> None:
    """Take the exchange away."""
    shutil.rmtree(_place(folder, nonce), ignore_errors=True)


def write(folder: str, nonce: str, name: str) -> Folder:
    """Read the first file of the exchange and write another one, this machine's."""
    place = _place(folder, nonce)
    try:
        free = shutil.disk_usage(folder).free
        if not _same(place, nonce):
            return Folder(path=folder, same=False, free=free)
        return Folder(path=folder, bytes_s=_timed_write(place / name), free=free)
    except OSError as error:
        return Folder(path=folder, problem=error.strerror or str(error))


def see(folder: str, nonce: str, names: Sequence[str]) -> tuple[str, ...]:
    """Return whose files do not appear."""
    return _missing(_place(folder, nonce), names, SEE_S)


def _missing(place: Path, names: Sequence[str], patience_s: float) -> tuple[str, ...]:
    until = time.monotonic() + patience_s
    # A listing asks the server again where a look at one name may be answered from what was remembered.
    while missing := [name for name in names if name not in _listed(place)]:
        if time.monotonic() > until:
            break
        time.sleep(POLL_S)
    return tuple(missing)


def _same(place: Path, nonce: str) -> bool:
    return not _missing(place, [FIRST], FIRST_S) and (place / FIRST).read_text() == nonce


def _timed_write(path: Path) -> float:
    """Write a file until it is durable; return bytes per second."""
    data, written = os.urandom(CHUNK), 0
    begin = time.monotonic()
    with path.open("wb") as file:
        while written < SIZE and time.monotonic() - begin < LONGEST_S:
            written += file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return written / (time.monotonic() - begin)


def _listed(place: Path) -> list[str]:
    try:
        return os.listdir(place)  # noqa: PTH208  (names alone, asked anew)
    except OSError:
        return []


def _place(folder: str, nonce: str) -> Path:
    return Path(folder) / f"{PREFIX}{nonce}"
