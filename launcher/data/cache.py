"""Where prepared data is kept."""

import errno
import os

from launcher.core.errors import UserError
from launcher.storage.store import Store, open_store
from launcher.storage.typed_paths import typed_path

ENVIRONMENT = "LAUNCHER_CACHE"
DEFAULT = "~/.cache/launcher"


def cache_store(option: str | None) -> Store:
    """Return the cache: at the `--cache` option, else `$LAUNCHER_CACHE`, else `~/.cache/launcher`."""
    url = option or os.environ.get(ENVIRONMENT) or DEFAULT
    if "://" in url:
        return open_store(url)
    path = typed_path(url)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        # What only cannot be written may hold what is wanted. Else a data file would be told to be unreadable, later.
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise UserError(f"the cache {path} cannot be a folder: {error.strerror}; --cache or ${ENVIRONMENT} name "
                            "another place") from None
    return open_store(str(path))
