"""The processes that share the work on batches, and the order in which their results come back.

Decides how many batches are under way, so that memory is bounded however large a source is. What the work is, is
`data.batch_work`. A worker ends with the process that started it, however that one ends, and needs no torch.
"""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager
from multiprocessing.connection import wait

from launcher.core.errors import PlatformError
from launcher.data.batch_work import Instructions, TokenizedBatch, forget, tokenize
from launcher.data.reading import RowBatch

MOST_PROCESSES = 8
SMALL_BYTES = 8 << 20
"""Below this, one process is done before others have started."""
BATCHES_PER_PROCESS = 2
"""One at work and one at hand."""


def usual_processes(size: int) -> int:
    """Return how many processes work on so many bytes of sources when nobody says."""
    return 1 if size < SMALL_BYTES else min(MOST_PROCESSES, len(os.sched_getaffinity(0)))


class Workforce(AbstractContextManager["Workforce"]):
    """Some processes; with one, the work is done in the caller's own."""

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self._pool: ProcessPoolExecutor | None = None

    def start(self) -> None:
        """Begin to start the processes, so that they are there when there is work."""
        if self._processes > 1 and self._pool is None:
            # Not forked: threads of this process (tokenizers, pyarrow) would be lost in the child with their locks.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self._processes, context, initializer=_settle)
            with _deaf_to_interrupts():
                for _ in range(self._processes):
                    self._pool.submit(_nothing)

    def map(self, instructions: Instructions, batches: Iterable[RowBatch]) -> Iterator[TokenizedBatch]:
        """Yield the result of each batch, in order. Raises PlatformError if a process is killed."""
        self.start()
        if self._pool is None:
            yield from (tokenize(instructions, batch) for batch in batches)
            return
        under_way: deque[Future[TokenizedBatch]] = deque()
        try:
            for batch in batches:
                if len(under_way) == BATCHES_PER_PROCESS * self._processes:
                    yield under_way.popleft().result()
                under_way.append(self._pool.submit(tokenize, instructions, batch))
            while under_way:
                yield under_way.popleft().result()
        except BrokenProcessPool:
            raise PlatformError(f"{instructions.place}: one of {self._processes} processes that prepare it was killed, "
                                "most likely because memory ran out; free some, or use fewer with --processes"
                                ) from None

    def __exit__(self, *_: object) -> None:
        """End the processes."""
        forget()
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _deaf_to_interrupts() -> Generator[None]:
    """Start processes that Ctrl-C does not reach, from their first instruction on: their parent ends them.

    The mask is inherited; what comes meanwhile reaches this process afterwards.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _settle() -> None:
    """Make this a worker: one thread, and gone when its parent is."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    threading.Thread(target=_die_with_parent, name="parent watch", daemon=True).start()


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


def _nothing() -> None:
    """Load what a worker needs: importing this module has done it."""
