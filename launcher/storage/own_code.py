"""Launcher's own code as files, where it runs from a checkout that somebody may edit while a job waits.

Decides which files of a checkout belong to it. An installed package is not copied: it changes when somebody installs.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from launcher.core.recipe_checks import SECRET_NAME
from launcher.storage.shipped import PACKAGE, TOP_FOLDERS, is_checkout

LARGEST_FILE = 5 * 2**20
"""No file of launcher is near it: what is larger was put there and is not code."""
SECRETS = (".pem", ".key", ".netrc")
CODE = (".py", ".json", ".yaml")
SHOWN = "example.env"
"""Of site files: the one that a job needs is copied by its name."""
CACHES = ("__pycache__", ".pyc")
"""Made by Python again."""


def own_code() -> tuple[dict[str, Path], list[str]]:
    """Return the files of launcher's checkout by their names below it, and what of it is left out and why; nothing
    where launcher is installed."""
    if not is_checkout():
        return {}, []
    root = PACKAGE.parent
    kept, left_out = dict[str, Path](), list[str]()
    for file in _files(PACKAGE, *(root / name for name in TOP_FOLDERS)):
        if reason := _why_not(file):
            left_out.append(f"{file}: {reason}")
        else:
            kept[file.relative_to(root).as_posix()] = file
    return kept, left_out


def _files(*folders: Path) -> Iterator[Path]:
    for folder in folders:
        for root, below, names in os.walk(folder):
            # A linked folder is told as a file would be: what it leads to is not launcher's.
            linked = [name for name in below if Path(root, name).is_symlink()]
            below[:] = sorted(name for name in below if name not in linked and not name.endswith(CACHES))
            yield from (Path(root, name) for name in sorted([*names, *linked]) if not name.endswith(CACHES))


def _why_not(file: Path) -> str:
    hidden = any(part.startswith(".") for part in file.relative_to(PACKAGE.parent).parts)
    site, named = file.suffix == ".env" and file.name != SHOWN, SECRET_NAME.search(file.stem.lower())
    if hidden or site or file.name.endswith(SECRETS) or (named and file.suffix not in CODE):
        return "hidden, or may be a secret"
    if not file.is_file():
        return "is no file"
    if (size := file.stat().st_size) > LARGEST_FILE:
        return f"has {size / 2**20:.0f} MiB, more than any file of launcher's"
    return ""
