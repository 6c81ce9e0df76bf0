"""What is known of a run from its files alone: its journal, and of one that nobody works on, its checkpoints.

Decides that a checkpoint counts as soon as it exists. Workers that save while their controller is taken away commit
it themselves, and the journal hears of it from the next controller.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from math import inf
from typing import Any

from launcher.core.account import for_account
from launcher.core.errors import PlatformError
from launcher.report.fold import RunFold
from launcher.report.page.history import History
from launcher.storage.checkpoints import Checkpoints
from launcher.storage.journal import read_journal
from launcher.storage.run_dir import RunDir


def known(run: RunDir, *, alive: bool, history: History | None = None,
          timed: list[dict[str, Any]] | None = None) -> RunFold:
    """Return what is known of a run. `alive`: somebody works on it, and the journal is no later than its files.

    `history` takes the journal too, where more than where the run stands is asked for, and `timed` what its account
    (`core.account`) asks for: a long journal is read once.
    """
    events = read_journal(run) if timed is None else _kept(read_journal(run), timed)
    fold = RunFold(events) if history is None else history.take(events)
    if alive or not fold.attempt or fold.status(alive=False).state == "finished":
        return fold
    with suppress(PlatformError):
        last = inf if fold.goes_back_to is None else fold.goes_back_to
        newest = max((step for step in Checkpoints(run).committed() if step <= last), default=None)
        if newest is not None and newest != fold.committed_step:
            fold.committed_step, fold.committed_time = newest, 0.0
    return fold


def _kept(events: Iterable[dict[str, Any]], timed: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for event in events:
        timed.extend(for_account(event))
        yield event
