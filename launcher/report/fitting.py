"""Long lines on narrow terminals. Where there is no terminal, lines stay whole: they are read by other programs."""

import shutil
import textwrap
from typing import TextIO

BETWEEN = "    "
"""Between two commands of one line."""


def columns(stream: TextIO) -> int | None:
    """Return how wide the terminal is that a stream goes to; None if it goes to none."""
    return shutil.get_terminal_size().columns if stream.isatty() else None


def commands(label: str, text: str, width: int | None) -> str:
    """Return what to type next behind its label: in one line, or where that is too long, a line for each command."""
    if width is None or len(label + text) <= width:
        return label + text
    return label + f"\n{' ' * len(label)}".join(text.split(BETWEEN))


def wrapped(label: str, text: str, width: int | None) -> str:
    """Return text behind its label, in lines that fit; what has no spaces stays whole, to be copied."""
    if width is None:
        return label + text
    return textwrap.fill(text, width, initial_indent=label, subsequent_indent=" " * len(label),
                         break_long_words=False, break_on_hyphens=False)
