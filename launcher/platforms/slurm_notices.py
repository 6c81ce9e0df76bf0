"""Every notice that an allocation will end, as requests to the controller of the job's run.

Notices are Slurm's warning (SIGUSR1 to the batch script alone), the clock, SIGTERM, and that nodes are gone without
which the run cannot go on. The request goes through the run directory, as `launcher stop` does it, because it carries
the reason and the deadline; it waits until the controller that this job started holds the run, and is never meant for
another's.
"""

import signal
import socket
import time
from collections.abc import Callable

from launcher.core.events import StopRequested
from launcher.core.stopping import merged
from launcher.platforms.slurm_verdict import LAST_S
from launcher.storage.lock import holder_of, token_of
from launcher.storage.run_dir import RunDir
from launcher.storage.stop_file import StopFile, ask_stop


class Notices:
    """What this job was told of its end."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self.end: float | None = None
        """Of the allocation, in UTC seconds, once it is known."""
        self.margin_s = 0.0
        self._warned = False
        self.ended = False
        """Whether SIGTERM came: Slurm takes the allocation away."""
        self.stranded = False
        """Whether the run waits for nodes that will not come back to this allocation."""

    def take_signals(self) -> None:
        """Make signals notices. Call from the main thread, as early as possible: SIGUSR1 would end the job."""
        signal.signal(signal.SIGUSR1, self._on_warning)
        signal.signal(signal.SIGTERM, self._on_end)

    def request(self) -> StopRequested | None:
        """Return the one request that all notices so far come to."""
        last = None if self.end is None else self.end - LAST_S
        notices = [StopRequested(reason="time_limit", deadline=last)] if self.out_of_time() else []
        notices += [StopRequested(reason="signal", deadline=None)] if self.ended else []
        notices += [StopRequested(reason="node_loss", deadline=None)] if self.stranded else []
        return merged(*notices)

    def out_of_time(self) -> bool:
        """Return whether Slurm or the clock has warned that the allocation ends."""
        return self._warned or (self.end is not None and self._clock() >= self.end - self.margin_s)

    def over(self) -> bool:
        """Return whether nobody may work any longer: whatever is not saved is lost either way."""
        return self.end is not None and self._clock() >= self.end - LAST_S / 2

    def _on_warning(self, _number: int, _frame: object) -> None:
        self._warned = True

    def _on_end(self, _number: int, _frame: object) -> None:
        self.ended = True


class Messenger:
    """Carries a request to the controller that this job has started."""

    def __init__(self, run: RunDir, started: float) -> None:
        self._run, self._started = run, started
        self._told: set[str] = set()

    def tell(self, request: StopRequested) -> bool:
        """Ask the controller, once it holds the run; return whether it was asked now or before."""
        if request.reason in self._told:
            return True  # Asking who holds the run costs requests where it is in an object store.
        claim, token = holder_of(self._run), token_of(self._run)
        # Another job's controller, on another machine or from before, is not this one's to stop.
        # By host, because containers on it have process ids of their own.
        if claim is None or claim.host != socket.gethostname() or claim.since < self._started:
            return False
        ask_stop(self._run, token, StopFile(request=request, time=time.time()))
        self._told.add(request.reason)
        return True
