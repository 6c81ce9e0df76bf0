"""Whether torch.compile has what it needs here, told without torch: by the command before anything is started, and by
workers. What is compiled is `runtime.speed`'s."""

import os
import shutil
import sysconfig
from pathlib import Path

USUAL = "g++"
"""What torch calls unless CXX says another one."""


def without_compiler() -> str | None:
    """Return what is missing to compile, or None."""
    if shutil.which(compiler := os.environ.get("CXX") or USUAL) is None:
        return compiler
    headers = Path(sysconfig.get_path("include")) / "Python.h"
    return None if headers.is_file() else str(headers)
