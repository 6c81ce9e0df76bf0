"""Holding a run from before its data is prepared, so that others see who works on it and can stop it.

Decides that a run which was refused, or stopped before it began, leaves nothing behind. Requests that come before there
is a controller to look for them end the preparing, by the signal that a person's `kill` would send; what a signal does
is the command's, and what a stop does later the controller's.
"""

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from launcher.storage.lock import Lease, Tell, take_lease
from launcher.storage.process_id import ProcessId, process_id
from launcher.storage.run_dir import RunDir
from launcher.storage.stop_file import PREFIX as STOPS
from launcher.storage.stop_file import clear_stops, stops_asked

WATCH_S = 0.5
"""Between looks into the run directory, which may lie on a slow file system."""


@contextmanager
def holding(run: RunDir, controller: ProcessId, tell: Tell) -> Generator[Lease]:
    """Hold a run for this command and its controller. Raises UserError that says who has it."""
    made = missing_folders(run.path)
    lease = take_lease(run, process_id(), controller, tell=tell)
    try:
        yield lease
    finally:
        if run.store.exists(run.PLAN):
            lease.release()
        else:
            _leave_nothing(run, lease, made)


@contextmanager
def heeding(run: RunDir, token: int) -> Generator[None]:
    """Let a stop that the holder of this token is asked for in the run directory come as a signal to this process."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(WATCH_S):
            # A file system that fails for a while, or a file that is no request, must not end the watch.
            with suppress(OSError, ValueError):
                if stops_asked(run, token):
                    # To the thread that prepares: it may be waiting, which only a signal of its own interrupts.
                    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
                    return

    watching = threading.Thread(target=watch, name="stop files", daemon=True)
    watching.start()
    try:
        yield
    finally:
        done.set()
        watching.join()


def missing_folders(path: Path) -> list[Path]:
    """Return which folders a path still lacks, from the innermost out."""
    return [folder for folder in (path, *path.parents) if not folder.exists()]


def remove_empty(folders: list[Path]) -> None:
    """Remove folders, the first of them first, up to one that is gone or holds something."""
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()


def _leave_nothing(run: RunDir, lease: Lease, made: list[Path]) -> None:
    """Give the run back without a trace, unless there is something of others: a later holder, a log."""
    with suppress(OSError):
        clear_stops(run, lease.token + 1)
    lease.withdraw()
    for folder in (STOPS, lease.FOLDER):
        remove_empty([run.path / folder])
    remove_empty(made)
