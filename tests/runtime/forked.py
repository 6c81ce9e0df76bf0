"""Worker processes forked from one that has imported what is slow, for tests of what workers do after that.

Each real worker imports torch, transformers and deepspeed for itself: two thirds of such a test's time on two cores.
Python's own fork server does it once for all tests of a session. How a real worker starts is for the tests of
`orchestration`; after the imports nothing differs: the same `main`, in a session of its own.
"""

import os
from functools import cache
from importlib import import_module
from multiprocessing import get_context
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

# Read when torch is imported or begins to compute, so they must stand when the fork server starts.
BEFORE_IMPORTS = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"}
PRELOADED = ["launcher.runtime.worker", "launcher.runtime.session"]


class ForkedProcess:
    """A module's `main` in a process of its own, handled as a `subprocess.Popen`."""

    def __init__(self, module: str, *arguments: object, log: Path, environment: dict[str, str] | None = None) -> None:
        given = {**os.environ, **BEFORE_IMPORTS, **(environment or {})}
        self._process: Any = _fork_server().Process(target=_live, daemon=False, args=(
            module, [str(each) for each in arguments], str(log), given))
        self._process.start()
        self.pid: int = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def kill(self) -> None:
        self._process.kill()

    def wait(self, timeout: float | None = None) -> int | None:
        self._process.join(timeout)
        return self._process.exitcode


@cache
def _fork_server() -> ForkServerContext:
    from multiprocessing import forkserver

    context = get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    before = dict(os.environ)
    os.environ.update(BEFORE_IMPORTS)
    forkserver.ensure_running()
    os.environ.clear()
    os.environ.update(before)
    return context


def _live(module: str, arguments: list[str], log: str, environment: dict[str, str]) -> None:
    os.setsid()
    written = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(written, 1)
    os.dup2(written, 2)
    os.environ.clear()
    os.environ.update(environment)
    import_module(module).main(*arguments)
    os._exit(0)  # As workers do: destructors of process groups may abort.
