"""A directory that a command makes for a person: whole, or not at all.

A marker stands in it until it is whole. So what a killed command has left is known, and the next one clears it away,
while nothing that a person has put anywhere is ever touched.
"""

import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from launcher.core.errors import UserError

MARKER = ".unfinished"


@contextmanager
def new_directory(folder: Path) -> Generator[None]:
    """Make a directory to write into; if that fails, nothing is left of it. Raises UserError if it is not free."""
    existed = folder.exists()
    _require_free(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _clear(folder)
        (folder / MARKER).touch()
    except OSError as error:
        raise UserError(f"{folder}: cannot be written to: {error.strerror}; name another directory") from None
    try:
        yield
        (folder / MARKER).unlink()
    except BaseException:
        _clear(folder)
        if not existed:
            folder.rmdir()
        raise


def _require_free(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: is a file; name a new directory")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MARKER).exists():
        raise UserError(f"{folder}: is not empty; name a new directory")


def _clear(folder: Path) -> None:
    # The marker last: what is left if this is cut short is still known.
    for path in sorted(folder.iterdir(), key=lambda path: path.name == MARKER):
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
