"""What a doctor says about one thing: how bad it is, what it is, why it matters, what to do.

Decides how many machines that have the same trouble become one sentence.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from launcher.core.document import Document

Level = Literal["ok", "note", "warn", "bad"]
SHOWN = 4
"""Names in a sentence; the others are counted."""


class Finding(Document):
    """One thing that was looked at."""

    level: Level
    what: str
    why: str = ""
    """Why it matters for a run; nothing where all is well."""
    do: str = ""
    """What to do about it."""


def ok(what: str) -> Finding:
    """Return a finding that needs nothing."""
    return Finding(level="ok", what=what)


def note(what: str, why: str = "", do: str = "") -> Finding:
    """Return one that is only good to know."""
    return Finding(level="note", what=what, why=why, do=do)


def warn(what: str, why: str, do: str) -> Finding:
    """Return one with which a run works, and works worse."""
    return Finding(level="warn", what=what, why=why, do=do)


def bad(what: str, why: str, do: str) -> Finding:
    """Return one with which a run does not work."""
    return Finding(level="bad", what=what, why=why, do=do)


def any_bad(findings: Iterable[Finding]) -> bool:
    """Return whether something must be mended before a run can work."""
    return any(finding.level == "bad" for finding in findings)


def who(names: Sequence[str]) -> str:
    """Return some machines in one sentence: `a, b, c, d and 60 more`."""
    shown, more = names[:SHOWN], len(names) - SHOWN
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def by_words(told: Mapping[str, str]) -> dict[str, list[str]]:
    """Return who says the same thing, by what they say; those who say nothing are left out."""
    found: dict[str, list[str]] = {}
    for name, words in told.items():
        if words:
            found.setdefault(words, []).append(name)
    return found
