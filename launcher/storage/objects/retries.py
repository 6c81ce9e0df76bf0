"""Asking again: what may pass is asked for again with growing pauses, and no longer than a stated time.

Decides when a request is given up. What may pass at all is `objects.trouble`.
"""

import errno
import random
import time
from collections.abc import Callable
from typing import TypeVar

from launcher.core.errors import LauncherError
from launcher.storage.objects.addresses import Address
from launcher.storage.objects.trouble import Kind, NotSo, PastEnd, Trouble, refusal, trouble_of

T = TypeVar("T")

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 10.0
# Where nothing was reached yet, a wrong address is as likely as a network that is down, and a person may be waiting.
FIRST_CONTACT_S = 10.0
# A generator of its own: training seeds the shared one, and its numbers must not depend on a network.
DRAW = random.SystemRandom().random


def pause_s(tries: int, draw: Callable[[], float]) -> float:
    """Return how long to pause after so many tries: a random part, so that many ranks do not ask at one moment."""
    longest = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** (tries - 1))
    return longest * (0.5 + draw() / 2)


class Retries:
    """The requests of one store."""

    def __init__(self, address: Address, patience_s: float, *, clock: Callable[[], float] = time.monotonic,
                 sleep: Callable[[float], None] = time.sleep, draw: Callable[[], float] = DRAW) -> None:
        self._address, self._patience_s = address, patience_s
        self._clock, self._sleep, self._draw = clock, sleep, draw
        self._reached = False

    def ask(self, key: str, request: Callable[[], T]) -> T:
        """Return what a request gives. Raises KeyError, NotSo, PastEnd, StoreRefused, or OSError in the end.

        No try begins later than `patience_s` after the first.
        """
        begin, tries = self._clock(), 0
        while True:
            tries += 1
            try:
                found = request()
            except LauncherError:
                raise
            except Exception as error:
                if (trouble := trouble_of(error)).kind is Kind.NOT_ITS_OWN:
                    raise
            else:
                self._reached = True
                return found
            # Out of the handler, so that no library's own message, which may quote a request, hangs on what is raised.
            self._reached = self._reached or trouble.kind is not Kind.UNREACHABLE
            if (final := self._final(key, trouble)) is not None:
                raise final
            pause, taken = pause_s(tries, self._draw), self._clock() - begin
            if taken + pause > self._patience():
                raise self._given_up(key, trouble, tries, taken)
            self._sleep(pause)

    def _patience(self) -> float:
        return self._patience_s if self._reached else min(self._patience_s, FIRST_CONTACT_S)

    def _final(self, key: str, trouble: Trouble) -> Exception | None:
        """Return what to raise of trouble that will not pass; None of what may."""
        match trouble.kind:
            case Kind.PASSING | Kind.UNREACHABLE:
                return None
            case Kind.MISSING:
                return KeyError(key)
            case Kind.CONDITION:
                return NotSo(key)
            case Kind.PAST_END:
                return PastEnd(key)
            case _:
                return refusal(self._address, key, trouble)

    def _given_up(self, key: str, trouble: Trouble, tries: int, taken: float) -> OSError:
        what = "cannot be reached" if trouble.kind is Kind.UNREACHABLE else "does not answer well"
        times = "once" if tries == 1 else f"{tries} times"
        return OSError(errno.ETIMEDOUT, f"the storage {what} ({trouble.said}); asked {times} in {taken:.0f} s",
                       self._address.url_of(key))
