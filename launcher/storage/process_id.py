"""What names a process: its pid with its start time, on one host. A pid alone may be another process's tomorrow.

Reads /proc. Whoever ends processes, holds a run's lock or adopts workers compares these and never command lines.
"""

import os
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from launcher.core.document import Document

POLL_S = 0.02
_TICKS = os.sysconf("SC_CLK_TCK")


class ProcessId(Document):
    """One process on this host, for as long as the host is up."""

    pid: int
    started: float
    """Seconds since the machine's start, to the kernel's tick: a clock that is set does not move it."""

    def began(self) -> float:
        """Return when it started, in UTC seconds by this machine's clock of now."""
        return time.time() - (time.clock_gettime(time.CLOCK_BOOTTIME) - self.started)

    def alive(self) -> bool:
        """Return whether this very process still runs; one that ended and waits for its parent does not."""
        found = _stat(self.pid)
        return found is not None and found[0] not in "ZX" and found[1] == self.started

    def state(self) -> str:
        """Return what /proc calls this very process's state (R, S, T, Z), or nothing if it is gone.

        D, a wait for a disk or a driver that nothing interrupts, already if one of its threads does.
        """
        found = _stat(self.pid)
        if found is None or found[1] != self.started:
            return ""
        return "D" if found[0] in "RS" and "D" in _thread_states(self.pid) else found[0]

    def signal(self, number: int) -> bool:
        """Send a signal to this very process; return whether it was there."""
        if not self.alive():
            return False
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            return False
        return True

    def kill(self) -> bool:
        """Send SIGKILL; return whether the process was there."""
        return self.signal(signal.SIGKILL)


def process_id(pid: int | None = None) -> ProcessId:
    """Return the identity of a running process; this one by default. Raises ProcessLookupError if there is none."""
    pid = os.getpid() if pid is None else pid
    found = _stat(pid)
    if found is None:
        raise ProcessLookupError(f"no process {pid}")
    return ProcessId(pid=pid, started=found[1])


def children(pid: int | None = None) -> list[ProcessId]:
    """Return the running child processes of a process, this one by default."""
    tasks = Path(f"/proc/{pid or os.getpid()}/task")
    try:
        pids = {int(word) for task in tasks.iterdir() for word in (task / "children").read_text().split()}
    except OSError:
        return []
    found = ((child, _stat(child)) for child in sorted(pids))
    return [ProcessId(pid=child, started=stat[1]) for child, stat in found if stat is not None]


def leave(processes: Iterable[ProcessId], grace_s: float, patience_s: float = 10.0) -> bool:
    """Let processes go by themselves for a while, then end them; return whether all are gone."""
    left = wait_gone(processes, grace_s)
    for process in left:
        process.kill()
    # One in uninterruptible sleep (a dead file system, a hung driver) may outlive SIGKILL for a while.
    return not wait_gone(left, patience_s)


def wait_gone(processes: Iterable[ProcessId], timeout_s: float) -> list[ProcessId]:
    """Wait until processes are gone, but not for ever; return those that are left."""
    deadline = time.monotonic() + timeout_s
    while (left := [process for process in processes if process.alive()]) and time.monotonic() < deadline:
        time.sleep(POLL_S)
        processes = left
    return left


def descendants(process: ProcessId) -> Iterator[ProcessId]:
    """Yield the running processes below a process, parents before their children."""
    for child in children(process.pid):
        yield child
        yield from descendants(child)


def _thread_states(pid: int) -> set[str]:
    states: set[str] = set()
    for task in Path(f"/proc/{pid}/task").glob("*/stat"):
        # A thread may end meanwhile.
        with suppress(OSError):
            states.add(task.read_text().rpartition(")")[2].split()[0])
    return states


def _stat(pid: int) -> tuple[str, float] | None:
    """Return the state letter and the start time, or None."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The command's name stands in parentheses and may hold spaces and parentheses itself.
    fields = text.rpartition(")")[2].split()
    return fields[0], int(fields[19]) / _TICKS


def command_line(process: ProcessId) -> list[str]:
    """Return a process's command line; nothing if it is gone."""
    with suppress(OSError):
        return Path(f"/proc/{process.pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    return []
