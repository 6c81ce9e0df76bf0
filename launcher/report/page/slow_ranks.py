"""Ranks that were named stragglers, as a table. Who is named is `core.straggler`."""

from launcher.report.page.tables import Table
from launcher.report.stragglers import Stragglers, place

HEAD = ("rank", "node", "attempt", "from step", "to step", "times as long, at most")


def slow_ranks(stragglers: Stragglers) -> Table | None:
    """Return who was slow when; None if nobody ever was."""
    rows = [(str(named.rank), place(named), str(named.attempt), str(named.since),
             "goes on" if named in stragglers.now else "end" if named.until is None else str(named.until),
             f"{named.score:.2f}") for named in stragglers.named]
    return Table("Ranks that took longer for the same work than the others", HEAD, rows) if rows else None
