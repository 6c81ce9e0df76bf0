"""What failures mean: their kind, and which of many ranks' explains the others'.

Pure. Decides the kind of a failure from what a dying worker leaves, and which failures are only echoes of another
rank's. What to do about a failure is `core.lifecycle`, how it is told `core.failure_page`.
"""

import re
import signal
from collections.abc import Iterable, Sequence

from launcher.core.failure import FailureKind, WorkerFailure

_KINDS: tuple[tuple[FailureKind, str], ...] = (
    (FailureKind.OUT_OF_MEMORY, r"out of memory|OutOfMemory|MemoryError|cannot allocate memory|CUBLAS_STATUS_ALLOC"),
    (FailureKind.STORAGE, r"No space left|Disk quota|Stale file handle|Input/output error|Read-only file system"),
    (FailureKind.STALL, r"collective .*timed? ?out|Watchdog caught|DistBackendError.*timeout"),
    (FailureKind.STARTUP, r"rendezvous|no orders came|init_process_group|Address already in use"),
)
_ECHO = re.compile(r"connection (was )?(closed|reset)( by peer)?|broken pipe|remote process exited|socket closed"
                   r"|connect(ion)? (to .* )?(refused|failed|timed out)|connection was likely closed|no route to host"
                   r"|(host|network) is (down|unreachable)|ncclRemoteError", re.IGNORECASE)


def classify(exit_code: int | None, text: str) -> FailureKind:
    """Return the kind of failure from an exit status (negative: by that signal) and an exception's text.

    The kernel ends processes with SIGKILL when memory is short, but so do people: a bare SIGKILL stays a crash.
    """
    for kind, pattern in _KINDS:
        if re.search(pattern, text, re.IGNORECASE):
            return kind
    return FailureKind.PREEMPTION if exit_code == -signal.SIGTERM else FailureKind.WORKER_CRASH


def died(rank: int, node: str, exit_code: int, step: int | None) -> WorkerFailure:
    """Return the failure of a worker that ended without a word of its own."""
    if exit_code < 0:
        message = f"ended by {signal.Signals(-exit_code).name}"
    else:
        message = f"left with exit code {exit_code} and without a word"
    return WorkerFailure(rank=rank, node=node, kind=classify(exit_code, ""), message=message, step=step)


def is_echo(failure: WorkerFailure) -> bool:
    """Return whether a rank failed only because it lost a peer."""
    return _ECHO.search(failure.message) is not None


def causes(failures: Sequence[WorkerFailure]) -> list[WorkerFailure]:
    """Return the failures that explain the rest: all but echoes, or all if there are only echoes."""
    return [failure for failure in failures if not is_echo(failure)] or list(failures)


def ranges(numbers: Iterable[int]) -> str:
    """Return numbers as people list them: 0-2, 5."""
    spans: list[list[int]] = []
    for number in sorted(set(numbers)):
        if spans and spans[-1][1] == number - 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in spans)
