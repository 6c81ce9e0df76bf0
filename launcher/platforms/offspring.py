"""Everything that this process has started, at any depth: also daemons, which leave their parent, stay its own.

Decides nothing about when they end; it makes it possible to end exactly these, by pid, and nobody else's.
"""

import ctypes
import signal
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager

from launcher.storage.process_id import ProcessId, descendants, leave, process_id, wait_gone

_PR_SET_CHILD_SUBREAPER = 36


def keep_orphans() -> None:
    """Become the parent of every process below this one whose own parent goes. Linux only."""
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def forget_the_dead() -> None:
    """Let children that end leave no trace. Call when nobody here waits for one any more."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)


@contextmanager
def heeding_the_dead() -> Generator[None]:
    """Let commands that are run meanwhile be waited for, after `forget_the_dead`."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGCHLD, before)


def offspring() -> Iterator[ProcessId]:
    """Yield the living processes below this one."""
    # One that has ended and waits for this process to notice is nothing to wait for.
    return (process for process in descendants(process_id()) if process.alive())


def end_offspring(may_finish: Callable[[ProcessId], bool], grace_s: float) -> None:
    """End all of them; those that may finish something get a moment for it before."""
    wait_gone([process for process in offspring() if may_finish(process)], grace_s)
    # Again: one that is ended may just have started another.
    while left := list(offspring()):
        if not leave(left, 0.0):
            return
