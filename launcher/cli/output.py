"""What a command prints, and what it says if that cannot be written."""

import errno
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager

from launcher.core.errors import PlatformError


@contextmanager
def printing() -> Generator[None]:
    """Print all that is printed inside. Raises PlatformError if standard output takes no more, as on a full disk.

    A reader that has gone is no trouble: `launcher prepare RECIPE --json | head` has seen enough.
    """
    try:
        yield
        sys.stdout.flush()
    except OSError as error:
        if error.filename is not None or error.errno == errno.EPIPE:
            raise
        # What could not be written would be tried again when the process ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise PlatformError(f"standard output cannot be written to: {error.strerror}") from None
