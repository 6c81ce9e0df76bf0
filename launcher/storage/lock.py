"""One run, one controller: the run's lease, held by the command and its controller, on this host or another.

Decides when a run is free: nobody holds it, its holder gave it back, its processes are gone from this machine, or its
heart stands still (`storage.lease`). A command that is gone while its controller still leaves is waited for: workers
may be saving for it. A process on this machine that lives holds the run even if its heart stands still, because it
may only be suspended. What a holder that has lost its lease does is the holder's.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from launcher.core.errors import UserError
from launcher.storage.lease import PATIENCE_S, POLL_S, Claim, Heart, Held, Queue, claim_of
from launcher.storage.orphan_grace import ORPHAN_GRACE_S
from launcher.storage.process_id import ProcessId, process_id
from launcher.storage.run_dir import RunDir

PREFIX = "lease/"
ORPHAN_S = ORPHAN_GRACE_S + 10.0
"""For a controller without its command: its workers finish their step and save, Ray's end takes two."""

Tell = Callable[[str], None]


def _silent(_line: str) -> None:
    """Tell nobody."""


class Lease:
    """The right to work on a run."""

    FOLDER = PREFIX

    def __init__(self, held: Held) -> None:
        self._held = held
        self.token = held.number
        """Grows with each holder: what bears a lower one is of an earlier life of the run."""

    def renew(self, *processes: ProcessId) -> None:
        """Say which processes work on the run from now on: the command first, then its controller."""
        first, *others = processes or (process_id(),)
        self._held.say(process=first, others=tuple(others))

    def lost(self) -> bool:
        """Return whether another host took this holder for dead and works on the run now."""
        return self._held.lost()

    def release(self) -> None:
        """Give the run back."""
        self._held.release()

    def withdraw(self) -> None:
        """Give the run back as if it had never been held: nothing bears this lease's number."""
        self._held.release()
        self._held.forget()


def take_lease(run: RunDir, *processes: ProcessId, tell: Tell = _silent) -> Lease:
    """Take the run for a command and its controller (this process by default). Raises UserError that says who has it.

    `tell` gets a line where there is something to wait for, and when the holder before did not give the run back.
    """
    queue = Queue(run.store, PREFIX)
    while True:
        number = _wait_free(run, queue, tell)
        held = queue.take(number + 1, claim_of(*(processes or (process_id(),))))
        if held is not None:
            return Lease(held)


def refuse_held(run: RunDir, tell: Tell = _silent) -> None:
    """Raise UserError, which says who it is, if somebody works on the run now; `take_lease` asks again."""
    queue = Queue(run.store, PREFIX)
    number = _wait_free(run, queue, tell)
    _, claim = queue.highest()
    # So that nobody has to wait, or be told, again that this one is dead.
    if claim is not None and not claim.released and (held := queue.take(number + 1, claim_of(process_id()))):
        held.release()


def holder_of(run: RunDir) -> Claim | None:
    """Return who works on the run now, or None. A holder on another host is believed: see `HolderWatch`."""
    _, claim = Queue(run.store, PREFIX).highest()
    return None if claim is None or claim.gone() else claim


def token_of(run: RunDir) -> int:
    """Return the token of the run's last holder; 0 if it never had one."""
    return Queue(run.store, PREFIX).highest()[0]


class HolderWatch:
    """Who holds a run, for those who look again and again: a dead holder on another host is found out in time."""

    def __init__(self, run: RunDir, patience_s: float = PATIENCE_S) -> None:
        self._run, self._heart = run, Heart(patience_s)

    def look(self) -> Claim | None:
        """Return who works on the run now, or None."""
        claim = holder_of(self._run)
        return None if claim is None or (not claim.here() and self._heart.stopped(claim)) else claim

    def doubtful(self) -> bool:
        """Return whether only more looks can tell if the holder lives.

        Clocks of hosts are compared only to see whether to look longer, never to see whether a holder lives.
        """
        claim = self.look()
        if claim is None or claim.here() or self._heart.moved:
            return False
        return abs(time.time() - claim.heard) > PATIENCE_S


def living_holders(runs: Sequence[RunDir], tell: Tell = _silent, patience_s: float = PATIENCE_S) -> list[Claim | None]:
    """Return who works on each run, once it is known of all; it takes a moment only where one was not heard lately.

    `tell` gets a line if it does.
    """
    watches = [HolderWatch(run, patience_s) for run in runs]
    if silent := [str(watch.look()) for watch in watches if watch.doubtful()]:
        tell(f"not heard lately: {', '.join(silent)}; looking up to {patience_s:.0f} s whether they live")
    while sum(watch.doubtful() for watch in watches):  # All are looked at each time: their hearts are timed by it.
        time.sleep(POLL_S)
    return [watch.look() for watch in watches]


def _wait_free(run: RunDir, queue: Queue, tell: Tell) -> int:
    """Return the highest number once nobody holds the run. Raises UserError if somebody does and will."""
    heart, told, patient_until = Heart(), "", time.monotonic() + ORPHAN_S
    while True:
        number, claim = queue.highest()
        if claim is None or claim.released:
            return number
        if claim.gone() or (heart.stopped(claim) and not claim.here()):
            tell(f"{claim}, which worked on {_shown(run)}, is gone; going on from what is saved")
            return number
        wait = _worth_waiting(claim, heart, patient=time.monotonic() < patient_until)
        if not wait:
            raise UserError(_refusal(run, claim))
        if wait != told:
            tell(wait)
        told = wait
        time.sleep(POLL_S)


def _worth_waiting(claim: Claim, heart: Heart, *, patient: bool) -> str:
    """Return what to tell a person who waits for this holder; nothing if it works and will go on."""
    if claim.here():
        orphaned = not claim.process.alive() and patient
        return f"the command before ({claim}) is gone; waiting until its controller has left" if orphaned else ""
    return "" if heart.moved else f"held by {claim}; waiting up to {PATIENCE_S:.0f} s to see whether it lives"


def _refusal(run: RunDir, claim: Claim) -> str:
    since, shown = time.strftime("%Y-%m-%d %H:%M", time.localtime(claim.since)), _shown(run)
    return (f"{shown}: being worked on by {claim} since {since}, and a run has one controller. "
            f"`launcher status {shown}` shows it, `launcher stop {shown}` stops it.")


def _shown(run: RunDir) -> str:
    """Return the run's path as a person here would type it."""
    return str(run.path.relative_to(Path.cwd())) if run.path.is_relative_to(Path.cwd()) else run.url
