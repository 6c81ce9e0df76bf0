"""A snapshot as one file, which a cluster unpacks where its jobs work: what goes along where no folder is shared.

Decides the layout: launcher's own code lies at the top, where Python looks first, and the recipe's copy below
`submitted/`, as in a run directory, so that it is read in the same way. The same content is the same file, byte for
byte, because a cluster keeps it by its hash.
"""

from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from launcher.storage.run_dir import RunDir
from launcher.storage.submitted import CODE
from launcher.storage.submitting import Snapshot

BEGINNING = (1980, 1, 1, 0, 0, 0)
"""The first moment that a zip file can tell."""
MODE = 0o644 << 16


def write_package(snapshot: Snapshot, file: Path) -> None:
    """Write a snapshot as a zip file."""
    with ZipFile(file, "w") as package:
        for name, content in sorted((_place(snapshot, name), content) for name, content in snapshot.entries()):
            entry = ZipInfo(name, BEGINNING)
            entry.external_attr, entry.compress_type = MODE, ZIP_DEFLATED
            package.writestr(entry, content)


def recipe_in(snapshot: Snapshot) -> str:
    """Return the path of the recipe's copy from where the package is unpacked."""
    return _place(snapshot, snapshot.described.recipe)


def _place(snapshot: Snapshot, name: str) -> str:
    code = f"{CODE}/"
    return name.removeprefix(code) if name.startswith(code) else f"{RunDir.SUBMITTED}/{snapshot.name}/{name}"
