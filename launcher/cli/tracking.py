"""The tracker beside a run: started with it, begun again when it dies, ended with it. Training never waits for it.

Decides how long a command waits for its tracker's last words, and when one that keeps dying is left alone. What it
tells is `report.tracker`, a process of its own, so that whatever the library does is not the command's.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

from launcher.core.recipe import Recipe
from launcher.core.yaml_tree import FieldPath
from launcher.storage.process_id import descendants, leave, process_id
from launcher.storage.run_dir import RunDir
from launcher.storage.tracking import LOGS, TrackingFolder

TRACKER_MODULE = "launcher.report.tracker"
END_S = 5.0
"""For the tracker's last words."""
AGAIN_S, AGAIN_MOST_S = 5.0, 300.0
"""Until another one is started where one died: twice as long each time. The names of logs count seconds."""
LASTING_S = 60.0
"""One that lived as long as this died of something new."""
IN_VAIN = 5
NICENESS = 10

Tell = Callable[[str], None]


def missing(recipe: Recipe, where: Callable[[FieldPath], str]) -> str | None:
    """Return what the recipe's tracking lacks here; None if nothing."""
    tracking = recipe.tracking
    wanted = {"wandb": tracking.wandb is not None, "tensorboard": tracking.tensorboard} if tracking else {}
    for package in [name for name, asked in wanted.items() if asked]:
        found = find_spec(package)
        # The library's own folder of logs is called wandb too, and looks like a package without any file.
        if found is None or found.origin is None:
            place = where(("tracking", package))
            return (f"{place + ': ' if place else ''}tracking.{package}: the package {package} is not installed here; "
                    f"pip install 'launcher[{package}]', or leave it out with --set tracking=null")
    return None


@contextmanager
def tracked(run: RunDir, recipe: Recipe, tell: Tell) -> Generator[None]:
    """Have a run told to what its recipe names, while what is inside goes on. `tell` tells a person what went wrong."""
    tracking = recipe.tracking
    if tracking is None or not (tracking.wandb or tracking.tensorboard or tracking.prometheus):
        yield
        return
    try:
        folder = TrackingFolder(run)
        keeper = Keeper([sys.executable, "-m", TRACKER_MODULE, run.url], folder, os.environ)
    except OSError as error:
        tell(f"the run is not tracked: {error}")
        yield
        return
    try:
        yield
    finally:
        if trouble := keeper.close():
            tell(trouble)
        if folder.unsent():
            tell(f"tracked offline: `wandb sync {folder.path}/{LOGS}/offline-run-*` sends it to Weights & Biases")


class Keeper:
    """Keeps a tracker alive, from a thread."""

    def __init__(self, command: list[str], folder: TrackingFolder, environment: Mapping[str, str], *,
                 again_s: float = AGAIN_S) -> None:
        self._command, self._folder, self._again_s = command, folder, again_s
        # One core for the library's own process: the others are the workers'.
        self._environment = {**environment, "GOMAXPROCS": "1"}
        self._closing, self._changing = threading.Event(), threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._trouble = ""
        self._thread = threading.Thread(target=self._keep, name="tracker", daemon=True)
        self._thread.start()

    def close(self, end_s: float = END_S) -> str:
        """Let the tracker end, within some seconds; return what is to be told of it, if anything."""
        self._closing.set()
        with self._changing:
            child = self._child
        if child is None or child.stdin is None:
            return self._trouble
        with suppress(OSError):
            child.stdin.close()
        self._thread.join(end_s)
        if child.poll() is None:
            self._trouble = f"the tracker did not end within {end_s:.0f} s and was ended: {self._look()}"
            below = list(descendants(process_id(child.pid)))
            child.kill()
            child.wait()
            leave(below, 0.0, 1.0)
        elif child.returncode and not self._trouble:
            self._trouble = f"the tracker ended with {child.returncode}: {self._look()}"
        leave(self._folder.remembered(), 0.0, 1.0)
        return self._trouble

    def _look(self) -> str:
        by_hand = f"{Path(sys.executable).name} -m {' '.join(self._command[2:])} < /dev/null"
        return f"look at {self._folder.log}; what is missing is told when the run goes on, or by `{by_hand}`"

    def _keep(self) -> None:
        try:
            self._begin_again()
        except OSError as error:
            self._trouble = f"the tracker could not be started: {error}"

    def _begin_again(self) -> None:
        in_vain, rest_s = 0, self._again_s
        while (child := self._start()) is not None:
            began = time.monotonic()
            child.wait()
            lasting = time.monotonic() - began >= LASTING_S
            in_vain, rest_s = (0, self._again_s) if lasting else (in_vain + 1, min(2 * rest_s, AGAIN_MOST_S))
            if in_vain >= IN_VAIN:
                self._trouble = f"the tracker died {in_vain} times in a row: {self._look()}"
                return
            if self._closing.wait(rest_s):
                return

    def _start(self) -> "subprocess.Popen[bytes] | None":
        with self._changing:
            if self._closing.is_set():
                return None
            with self._folder.log.open("ab") as log:
                # A session of its own: a terminal's Ctrl-C is the command's to answer.
                self._child = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=log, stderr=log,
                                               start_new_session=True, env=self._environment)
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, self._child.pid, NICENESS)
            return self._child
