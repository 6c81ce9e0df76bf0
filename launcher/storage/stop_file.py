"""Asking a run to stop from any process, on any host that sees its directory.

Each request is a small file of its own, which names the holder that it is for by the token of the run's lease. So a
request can neither be lost to another one nor stop a later start of the run, and no clock has a say: the holder obeys
what bears its token, however early it came, and clears away what bears a lower one.
"""

import os
from contextlib import suppress

from launcher.core.document import Document
from launcher.core.events import StopRequested
from launcher.storage.run_dir import RunDir

PREFIX = "stops/"


class StopFile(Document):
    """One request."""

    request: StopRequested
    time: float = 0.0
    """UTC seconds of the asker's clock, to put requests in order; the journal has the clock of its writer."""
    at_once: bool = False
    """Without finishing the step: somebody asked before, or cannot wait."""


def ask_stop(run: RunDir, token: int, asked: StopFile) -> None:
    """Ask the holder with this token to stop."""
    run.store.put(f"{PREFIX}{token:06d}-{os.urandom(4).hex()}.json", asked.to_json().encode())


def stops_asked(run: RunDir, token: int) -> list[StopFile]:
    """Return what the holder with this token is asked, the earliest first."""
    found: list[StopFile] = []
    for key in run.store.list(f"{PREFIX}{token:06d}-"):
        with suppress(KeyError):  # cleared by a later holder: then this one has nothing to obey any more
            found.append(StopFile.from_json(run.store.get(key)))
    return sorted(found, key=lambda asked: asked.time)


def clear_stops(run: RunDir, token: int) -> None:
    """Remove what earlier holders than this one were asked."""
    for key in list(run.store.list(PREFIX)):
        if int(key.removeprefix(PREFIX).partition("-")[0]) < token:
            run.store.delete(key)
