"""Files that ship with launcher: recipes, DeepSpeed configurations, batch scripts and the quickstart's data.

In a wheel they lie inside the package; in a checkout the first three are top-level folders, where people look.
"""

from pathlib import Path

from launcher.storage.typed_paths import is_file

PACKAGE = Path(__file__).resolve().parent.parent
DATA_PREFIX = "package:"
TOP_FOLDERS = ("recipes", "ds_configs", "slurm")
"""Of a checkout."""


def is_checkout() -> bool:
    """Return whether launcher runs from a checkout, and not as an installed package."""
    return not (PACKAGE / TOP_FOLDERS[-1]).is_dir()


def shipped(folder: str, name: str) -> Path | None:
    """Return the shipped file `folder/name` (folder: recipes, ds_configs, slurm, quickstart), or None."""
    for root in (PACKAGE, PACKAGE.parent):
        if is_file(path := root / folder / name):
            return path
    return None


def is_shipped(folder: str, file: Path) -> bool:
    """Return whether a file lies where launcher's own of a folder do."""
    return any(file.resolve().is_relative_to(root / folder) for root in (PACKAGE, PACKAGE.parent))


def shipped_names(folder: str, suffix: str) -> list[str]:
    """Return the names, relative to the folder, of shipped files that end in a suffix."""
    for root in (PACKAGE, PACKAGE.parent):
        if (root / folder).is_dir():
            return sorted(path.relative_to(root / folder).as_posix() for path in (root / folder).rglob(f"*{suffix}"))
    return []
