"""The steps of a job: one task on every node that holds Ray, and the controller on the first node.

Decides how srun is called, and that steps end by their standard input or by the pid of their srun, never by a name.
What the tasks do is `slurm_node` and the controller's; when they begin and end is `slurm_job`.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Self

from launcher.core.errors import PlatformError
from launcher.platforms.slurm_container import Container
from launcher.platforms.slurm_environment import of_steps
from launcher.platforms.slurm_ray import FOLDERS, Orders, Report
from launcher.storage.orphan_grace import ORPHAN_GRACE_S

NODE_MODULE = "launcher.platforms.slurm_node"
# All of the job's share of the node, which steps of one job do not hold against each other; nothing of the site's
# choice may end a step because one of its tasks has ended, or one of its nodes.
STEP = ("srun", "--overlap", "--mem=0", "--cpu-bind=none", "--export=ALL", "--kill-on-bad-exit=0", "--wait=0",
        "--no-kill")
BRING_UP_S = 600.0
"""For Ray on all nodes: the first import from a cold shared file system, or a container that is fetched."""
CLOSE_S = ORPHAN_GRACE_S + 15.0
"""For tasks whose input is closed: workers get a moment to save, Ray's processes end at once."""
CLEAR_S = 20.0
"""For removing a few folders."""
POLL_S = 0.2


def nodes_command(nodes: int, where: Container) -> list[str]:
    """Return the command of the step that holds Ray."""
    return [*STEP, *where.srun, f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1", *where.inside,
            where.python, "-m", NODE_MODULE]


def controller_command(first_node: str, command: Sequence[str], where: Container) -> list[str]:
    """Return the command of the controller's step. It is a step of its own, so that its exit code and Slurm's signals
    are the controller's alone."""
    return [*STEP, *where.srun, "--nodes=1", "--ntasks=1", f"--nodelist={first_node}", "--input=none", *where.inside,
            *command]


def clearing_command(job: int, nodes: Sequence[str]) -> list[str]:
    """Return the command that removes what tasks which were ended by force have left on the job's nodes."""
    return [*STEP, f"--nodes={len(nodes)}", f"--ntasks={len(nodes)}", f"--nodelist={','.join(nodes)}", "--input=none",
            "sh", "-c", f"rm -rf {FOLDERS.format(job=job)}"]


class NodesStep:
    """Ray on all nodes of the job, as a context: afterwards it is gone."""

    def __init__(self, names: Sequence[str], orders: Orders, where: Container) -> None:
        self._names, self._orders, self._where = names, orders, where
        self._reports: list[Report] = []

    def __enter__(self) -> Self:
        # A session of its own: what is sent to the batch script's process group is not for the step.
        self._srun = subprocess.Popen(nodes_command(len(self._names), self._where), stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, text=True, start_new_session=True,
                                      env=of_steps(os.environ))
        assert self._srun.stdin is not None
        self._say(self._orders.model_dump_json())
        threading.Thread(target=self._read, name="reports", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._srun.stdin is not None
        with suppress(BrokenPipeError):
            self._srun.stdin.close()
        end(self._srun, CLOSE_S)

    @property
    def broken(self) -> bool:
        """Return whether a task was ended by force, so that nobody has cleared up after it."""
        return self._srun.poll() != 0

    def wait_ready(self, given_up: Callable[[], bool], patience_s: float = BRING_UP_S) -> bool:
        """Wait until every node has told that it is there; return False if that is not wanted any more. Raises
        PlatformError with the nodes that are missing and why."""
        until = time.monotonic() + patience_s
        while len({report.node for report in self._reports}) < len(self._names):
            if given_up():
                return False
            if problems := bring_up_problems(self._names, self._reports, ended=self._srun.poll(),
                                             late=time.monotonic() > until):
                raise PlatformError(problems)
            time.sleep(POLL_S)
        if problems := bring_up_problems(self._names, self._reports, ended=None, late=False):
            raise PlatformError(problems)
        return True

    def _say(self, line: str) -> None:
        assert self._srun.stdin is not None
        with suppress(BrokenPipeError):  # srun is gone, which `wait_ready` tells.
            self._srun.stdin.write(line + "\n")
            self._srun.stdin.flush()

    def _read(self) -> None:
        assert self._srun.stdout is not None
        for line in self._srun.stdout:
            try:
                self._reports.append(Report.from_json(line))
            except ValueError:
                # A site's prolog may print, too.
                sys.stdout.write(line)


def bring_up_problems(names: Sequence[str], reports: Sequence[Report], *, ended: int | None, late: bool) -> str:
    """Return what is wrong with the bring-up as far as it is known; nothing while it may still succeed."""
    told = [f"{report.name}: {report.problem}" for report in reports if report.problem]
    if told:
        return "not every node of the job can take part. " + "; ".join(told)
    missing = [name for number, name in enumerate(names) if number not in {report.node for report in reports}]
    if not missing or not (late or ended is not None):
        return ""
    why = f"srun ended with {ended}" if ended is not None else "they did not answer in time"
    return f"Ray did not come up on {', '.join(missing)}: {why}; the job's output has what they said"


def start_controller(command: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start the controller's step; its output is the job's."""
    return subprocess.Popen(list(command), env=of_steps(environment), stdin=subprocess.DEVNULL, start_new_session=True)


def clear(job: int, nodes: Sequence[str]) -> None:
    """Remove the folders of the job's Ray on these nodes: nobody of the job is at work any more."""
    with suppress(subprocess.TimeoutExpired):
        subprocess.run(clearing_command(job, nodes), stdin=subprocess.DEVNULL, timeout=CLEAR_S, check=False,
                       env=of_steps(os.environ))


def end(srun: "subprocess.Popen[bytes] | subprocess.Popen[str]", patience_s: float) -> None:
    """Wait for a step's end, and end it by the pid of its srun if it takes too long: SIGTERM ends its tasks by force.
    """
    for force in (None, srun.terminate, srun.kill):
        if force is not None:
            force()
        with suppress(subprocess.TimeoutExpired):
            srun.wait(patience_s)
            return
