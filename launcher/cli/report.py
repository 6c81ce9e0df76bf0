"""The body of `launcher report RUN`: one HTML page of what happened, in the run directory or where one likes.

Parses, gathers and writes. What is on the page is `report.page`; it is made from files alone, so any machine that sees
them can do it, while the run goes on or years after.
"""

import sys
import time
import webbrowser
from pathlib import Path
from typing import Any

from launcher.cli.find_run import find_run
from launcher.cli.queue import sight
from launcher.cli.status import status_of, tell
from launcher.core.account import account, for_account
from launcher.core.errors import UserError
from launcher.report.next_command import next_command
from launcher.report.page.beside import beside
from launcher.report.page.history import History
from launcher.report.page.page import Moment, page
from launcher.report.summary import told_failures
from launcher.storage.files import write_atomic
from launcher.storage.journal import read_journal
from launcher.storage.lock import living_holders
from launcher.storage.run_dir import RunDir


def report(argument: str, *, out: str | None, show: bool) -> None:
    """Write a run's page and say where it is."""
    if out is not None and (Path(out).is_dir() or not Path(out).absolute().parent.is_dir()):
        wrong = "is a folder" if Path(out).is_dir() else "its folder is not there"
        raise UserError(f"--out {out}: {wrong}; it names the file that is written")
    run, shown = find_run(argument)
    text = html_of(run, shown, time.time()).encode(errors="replace")
    if out is None:
        run.store.put(run.REPORT, text)
        where, path = f"{shown.rstrip('/')}/{run.REPORT}", run.store.local(run.REPORT)
    else:
        where, path = out, Path(out)
        write_atomic(path, [text], make_folder=False)
    opened = show and webbrowser.open(path.resolve().as_uri())
    sys.stdout.write(f"report  {where}  ({len(text) / 1000:,.0f} kB, one file that needs nothing else)\n")
    sys.stdout.write("" if opened or not show else "        no browser could be opened here\n")
    sys.stdout.write(f"next    launcher status {shown}\n")


def html_of(run: RunDir, shown: str, now: float) -> str:
    """Return a run's page."""
    holder, = living_holders([run], tell)
    alive, seen = holder is not None, sight(run)
    history, for_time = History(), list[dict[str, Any]]()
    for event in read_journal(run):
        history.add(event)
        for_time.extend(for_account(event))
    fold = history.fold
    state = status_of(run, fold, holder, seen).state
    following = next_command(run, shown, fold, alive=alive or (seen.live and not seen.needless))
    failed = fold.failures and state in ("failed", "interrupted")
    moment = Moment(shown, state, alive, following, now, told_failures(run, shown, fold) if failed else "")
    return page(history, account(for_time, now if alive else None), beside(run, fold.attempt), moment)
