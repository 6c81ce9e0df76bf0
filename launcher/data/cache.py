"""Where prepared data is kept."""

import os

from launcher.storage.store import Store, open_store
from launcher.storage.typed_paths import typed_path

ENVIRONMENT = "LAUNCHER_CACHE"
DEFAULT = "~/.cache/launcher"


def cache_store(option: str | None) -> Store:
    """Return the cache: at the `--cache` option, else `$LAUNCHER_CACHE`, else `~/.cache/launcher`."""
    url = option or os.environ.get(ENVIRONMENT) or DEFAULT
    return open_store(url if "://" in url else str(typed_path(url)))
