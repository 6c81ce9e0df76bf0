"""Where prepared data is kept."""

import errno
import os

from launcher.core.errors import UserError
from launcher.storage.run_dir import RunDir
from launcher.storage.store import Store, open_store
from launcher.storage.typed_paths import is_folder, typed_path

ENVIRONMENT = "LAUNCHER_CACHE"
DEFAULT = "~/.cache/launcher"


def cache_store(option: str | None, run_dir: str = "") -> Store:
    """Return the cache, made if it is not there: at `--cache`, else `$LAUNCHER_CACHE`, else in the run's own
    directory where that is in an object store, since nodes may see nothing else, else `~/.cache/launcher`."""
    url = _url(option, run_dir)
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


def cache_url(option: str | None, run_dir: str = "") -> str:
    """Return the cache as it is known in any folder; it need not be there."""
    url = _url(option, run_dir)
    return url if "://" in url else str(typed_path(url).absolute())


def cache_there(option: str | None) -> Store | None:
    """Return the cache if it is there: who only asks what is in it leaves no folder behind."""
    url = _url(option)
    return cache_store(option) if "://" in url or is_folder(typed_path(url)) else None


def _url(option: str | None, run_dir: str = "") -> str:
    own = f"{run_dir.rstrip('/')}/{RunDir.CACHE}" if "://" in run_dir else DEFAULT
    return option or os.environ.get(ENVIRONMENT) or own
