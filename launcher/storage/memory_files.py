"""Files in this process's memory, and how much memory is left for them.

They have no name in any file system, so the kernel frees them when the process ends, however it ends, and a container's
small /dev/shm does not bound them.
"""

import os
from pathlib import Path

import psutil

_CGROUPS = (("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
            ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"))
"""Limit and use of this process's control group, of both versions."""


class MemoryFile:
    """One file, written once."""

    def __init__(self, name: str) -> None:
        self._descriptor = os.memfd_create(name, os.MFD_CLOEXEC)
        self.bytes = 0

    def append(self, data: bytes) -> None:
        """Write more at its end. Raises OSError."""
        view = memoryview(data)
        while len(view):
            written = os.pwrite(self._descriptor, view, self.bytes)
            self.bytes, view = self.bytes + written, view[written:]

    def open(self) -> int:
        """Return a descriptor of its own for somebody who reads it: the content stays until that is closed."""
        return os.dup(self._descriptor)

    def close(self) -> None:
        """Let go of it."""
        os.close(self._descriptor)


def free_memory() -> int:
    """Return the bytes of memory that processes here could still take: the machine's, or their control group's."""
    return min([psutil.virtual_memory().available,
                *(left for limit, used in _CGROUPS if (left := _left(limit, used)) is not None)])


def _left(limit: str, used: str) -> int | None:
    try:
        most, now = Path(limit).read_text().strip(), Path(used).read_text().strip()
    except OSError:
        return None
    return max(0, int(most) - int(now)) if most.isdigit() and now.isdigit() else None
