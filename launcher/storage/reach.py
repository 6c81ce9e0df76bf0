"""Whether this node gets to a run in an object store, told in one sentence.

Asked before a node begins to work: what it could not save would be found out much later, and by many at once.
"""

import socket

from launcher.core.errors import LauncherError
from launcher.storage.run_dir import RunDir


def trouble_with(url: str) -> str:
    """Return why this node cannot work on a run in an object store; nothing if it can."""
    try:
        run = RunDir(url)
        run.store.exists(run.PLAN)
    except OSError as error:
        return unreached(error)
    except LauncherError as error:
        return str(error)
    return ""


def unreached(error: OSError) -> str:
    """Return what keeps this node from a run in an object store. Raises the error if that is not what it says."""
    if "://" not in str(error.filename):
        raise error
    return (f"{socket.gethostname()} does not get to the run's storage: {error.filename}: {error.strerror}. Every node "
            "of a job must reach it, with the credentials and the address (AWS_ENDPOINT_URL) of its environment")
