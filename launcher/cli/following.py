"""Following a run that another process works on, until nobody does; for `status --watch` and `stop`."""

import time
from typing import Protocol

from rich.console import Console

from launcher.report.fold import RunFold
from launcher.report.live import open_view
from launcher.storage.growing import pause_s
from launcher.storage.journal import JournalReader
from launcher.storage.lock import HolderWatch
from launcher.storage.run_dir import RunDir


class Looks(Protocol):
    """Knows whether a run goes on."""

    def look(self) -> object:
        """Return what is true while it does."""
        ...


def follow(run: RunDir, console: Console, watch: Looks | None = None) -> RunFold:
    """Show the run as it goes on until nobody holds it, or as long as `watch` says; return what is known then."""
    reader, watch = JournalReader(run), watch or HolderWatch(run)
    fold = RunFold(reader.new_events())
    view = open_view(console)
    try:
        view.show(fold, [])
        while True:
            # Looked at first: whatever a holder that is gone has written is read below.
            goes_on = watch.look()
            events = reader.new_events()
            fold.add(*events)
            view.show(fold, events)
            if not goes_on:
                return fold
            time.sleep(pause_s(run))
    finally:
        view.close()
