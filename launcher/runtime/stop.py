"""Every reason for this worker to stop becomes one flag, looked at once per step; nothing acts inside a handler.

Reasons: a stop letter in the mailbox, a signal, or the lifeline closing because whoever started the worker is gone.
The decision to stop is taken by all ranks together (`runtime.loop`).
"""

import os
import select
import signal
import threading
from types import FrameType

from launcher.core.errors import YIELDED
from launcher.storage.mailbox import Mailbox
from launcher.storage.orphan_grace import ORPHAN_GRACE_S

SIGNALS = (signal.SIGTERM, signal.SIGUSR2, signal.SIGINT)


class StopFlag:
    """Whether this rank was asked to stop."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox
        self._signalled = False
        self.orphaned = False
        self._lifeline = os.open(mailbox.lifeline, os.O_RDONLY | os.O_NONBLOCK)
        # A FIFO that never had a writer since it was opened gives no POLLHUP: without this a worker whose starter died
        # while its interpreter was starting would wait for ever.
        os.close(os.open(mailbox.lifeline, os.O_WRONLY | os.O_NONBLOCK))

    def install(self) -> None:
        """Take the signals, and watch the lifeline. Call from the main thread."""
        for number in SIGNALS:
            signal.signal(number, self._on_signal)
        threading.Thread(target=self._watch_lifeline, name="lifeline", daemon=True).start()

    def requested(self) -> bool:
        """Return whether this rank knows a reason to stop."""
        return self._signalled or self.orphaned or self._mailbox.look("stop") is not None

    @property
    def reason(self) -> str:
        """Return why this rank wanted to stop: by a `signal`, `orphaned`, `asked`, or only with its `peers`."""
        if self.orphaned or (self._mailbox.look("stop") or {}).get("reason") == "orphaned":
            return "orphaned"
        return "signal" if self._signalled else "asked" if self._mailbox.look("stop") is not None else "peers"

    def alive(self) -> bool:
        """Return whether waiting still makes sense: somebody may still send a letter."""
        return not (self._signalled or self.orphaned)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._signalled = True

    def _watch_lifeline(self) -> None:
        poller = select.poll()
        poller.register(self._lifeline, 0)
        # POLLHUP comes when the last writer closes.
        while not any(event & select.POLLHUP for _, event in poller.poll()):
            pass
        self.orphaned = True
        threading.Event().wait(ORPHAN_GRACE_S)
        os._exit(YIELDED)
