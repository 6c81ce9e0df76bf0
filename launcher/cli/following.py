"""Following a run that another process works on, until nobody does; for `status --watch` and `stop`."""

import time

from rich.console import Console

from launcher.report.fold import RunFold
from launcher.report.live import open_view
from launcher.storage.journal import JournalReader
from launcher.storage.lock import HolderWatch
from launcher.storage.run_dir import RunDir

POLL_S = 0.2


def follow(run: RunDir, console: Console) -> RunFold:
    """Show the run as it goes on until nobody holds it; return what is known then."""
    reader, holder = JournalReader(run), HolderWatch(run)
    fold = RunFold(reader.new_events())
    view = open_view(console)
    try:
        view.show(fold, [])
        while True:
            # Looked at first: whatever a holder that is gone has written is read below.
            held = holder.look() is not None
            events = reader.new_events()
            fold.add(*events)
            view.show(fold, events)
            if not held:
                return fold
            time.sleep(POLL_S)
    finally:
        view.close()
