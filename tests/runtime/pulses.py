"""Processes that get on for a part of the time only, as on a core that others use."""

import os
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from random import Random

HELD_S, FREE_S = 0.02, 0.01
"""Means."""


@contextmanager
def held_now_and_then(pid: int, held_s: float = HELD_S, free_s: float = FREE_S) -> Generator[None]:
    """Stop a process by a signal and let it go on, in turns, while what is inside goes on."""
    over, chance = threading.Event(), Random(1)

    def pulse() -> None:
        with suppress(ProcessLookupError):
            # Never in time with what it does: it would be held while it waits anyway.
            while not over.wait(free_s * 2 * chance.random()):
                os.kill(pid, signal.SIGSTOP)
                over.wait(held_s * 2 * chance.random())
                os.kill(pid, signal.SIGCONT)

    thread = threading.Thread(target=pulse, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
