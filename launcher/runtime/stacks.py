"""The stacks of this process's threads, into a file: when asked by a signal, or when the process crashes in C.

Python's own fault handler writes them from the signal's handler, so it works while a call into C holds the interpreter
and every lock with it. When to ask is the controller's.
"""

import faulthandler
import signal
from pathlib import Path
from typing import BinaryIO

_open: list[BinaryIO] = []
"""The handler writes to a descriptor, which must stay open."""


def write_stacks_to(path: Path) -> None:
    """Answer SIGUSR1 with the stacks of all threads, and write them too at a segmentation fault or an abort."""
    file = path.open("ab", buffering=0)
    faulthandler.register(signal.SIGUSR1, file, all_threads=True, chain=False)
    faulthandler.enable(file, all_threads=True)
    _open.append(file)
    for before in _open[:-1]:
        before.close()
    del _open[:-1]


def forget_empty() -> None:
    """Remove the file if nothing was written: the process ends well."""
    for file in _open:
        path = Path(file.name)
        if path.exists() and path.stat().st_size == 0:
            path.unlink()
