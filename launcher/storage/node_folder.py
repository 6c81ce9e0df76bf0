"""Where this node keeps copies of what lies in an object store: large, and worth nothing once the node is gone."""

import os
from pathlib import Path

from launcher.storage.typed_paths import typed_path

NAME = "LAUNCHER_SCRATCH"
DEFAULT = "~/.cache/launcher"


def node_folder() -> Path:
    """Return the folder: below `$LAUNCHER_SCRATCH` one for each user, for one cannot write into another's; else
    `~/.cache/launcher`. It need not be there yet."""
    said = os.environ.get(NAME)
    return (typed_path(said) / f"launcher-{os.getuid()}" if said else typed_path(DEFAULT)).absolute()
