"""One node of a job: `srun python -m launcher.platforms.slurm_node`, one task on each node.

Starts the node's part of Ray and holds it until its standard input closes, which happens when the batch script's
process wants it or is gone. Every process of the node's Ray, daemons and workers too, is below this one, so that only
these are ended. SIGTERM, which preemption and `scancel` send, ends nothing here: workers hear it themselves or from the
controller, and they save while this task lives, because Slurm ends what is left of a task that is gone.
"""

import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from launcher.core.errors import INFRASTRUCTURE, LauncherError, PlatformError
from launcher.platforms.addresses import towards
from launcher.platforms.offspring import end_offspring, forget_the_dead, heeding_the_dead, keep_orphans, offspring
from launcher.platforms.ports import HeldBlock, head_block, hold_block
from launcher.platforms.slurm_abandoned import JobWatch
from launcher.platforms.slurm_environment import Share, share
from launcher.platforms.slurm_ray import TOKEN, Orders, Report, folder, ray_environment, ray_start
from launcher.storage.orphan_grace import ORPHAN_GRACE_S
from launcher.storage.process_id import ProcessId, command_line
from launcher.storage.reach import trouble_with

WORKERS = "launcher.runtime.worker"
"""The module of processes that may still be saving."""
TRIES = 3
"""Of a node's Ray: between a look at its ports and their use somebody else may take one."""
START_S = 120.0
"""For `ray start`, whose imports may come from a slow shared file system."""
SAID = 2000
"""Characters of what Ray said that are shown when it did not start."""


def main() -> int:
    """Hold the node's part of Ray for as long as it is wanted; return the task's exit code."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, _stay)
    keep_orphans()
    orders = Orders.from_json(sys.stdin.buffer.readline())
    mine = share(os.environ)
    try:
        return _hold(orders, mine)
    finally:
        end_offspring(_may_be_saving, ORPHAN_GRACE_S + 2.0)
        shutil.rmtree(folder(orders.job, mine.node), ignore_errors=True)


def _hold(orders: Orders, mine: Share) -> int:
    try:
        # Before anything is started that would find it out rank by rank, and save by save.
        if orders.run and (problem := trouble_with(orders.run)):
            raise PlatformError(problem)
        _make_folder(orders, mine.node)
        held = _start(orders, mine, towards(orders.address) if mine.node else orders.address)
    except (LauncherError, OSError) as error:
        _report(Report(node=mine.node, name=mine.name, problem=str(error)))
        return INFRASTRUCTURE
    forget_the_dead()
    _report(Report(node=mine.node, name=mine.name))
    _wait(JobWatch(orders, mine.node, mine.name, lambda: any(map(_may_be_saving, offspring()))))
    del held  # Until here nobody else takes these ports.
    return 0


def _wait(watch: JobWatch) -> None:
    """Wait until standard input closes, or for what nobody is left to do that."""
    while not select.select([sys.stdin], [], [], watch.pause_s)[0]:
        with heeding_the_dead():
            if watch.over():
                return


def _make_folder(orders: Orders, node: int) -> None:
    """Make the folder of this node's Ray, with the token in it, for this user alone."""
    path = folder(orders.job, node)
    # Of an earlier allocation of the same job on this node: everything of it was ended with it.
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(mode=0o700)
    token = path / TOKEN
    token.touch(mode=0o600)
    token.write_text(orders.token)


def _start(orders: Orders, mine: Share, address: str) -> list[HeldBlock]:
    """Start Ray on a block of ports that nobody uses; return what holds it, to be kept as long as Ray. Raises
    PlatformError with what Ray said."""
    said, held = "", list[HeldBlock]()
    for _ in range(1 if mine.node == 0 else TRIES):
        # The first node's ports are known to all, so it has no other choice; the batch script's process holds them.
        if mine.node:
            held.append(hold_block(orders.job, mine.node))
        block = held[-1].ports if held else head_block(orders.port)
        said = _ray(ray_start(orders, mine, address, block), ray_environment(os.environ, orders.job, mine.node),
                    folder(orders.job, mine.node) / "start.log")
        if not said:
            return held
        end_offspring(lambda _: False, 0.0)
    raise PlatformError(f"Ray did not start: {said[-SAID:]}")


def _ray(command: list[str], environment: dict[str, str], said: Path) -> str:
    """Run `ray start`, whose daemons stay; return what it said if it failed."""
    # Into a file: daemons that held a pipe open would be waited for.
    with said.open("wb") as output:
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment,
                                  timeout=START_S, check=False)
        except subprocess.TimeoutExpired:
            return f"it did not end within {START_S:.0f} s: {said.read_text(errors='replace')}"
    return "" if done.returncode == 0 else said.read_text(errors="replace") or f"exit code {done.returncode}"


def _may_be_saving(process: ProcessId) -> bool:
    return WORKERS in command_line(process)


def _report(report: Report) -> None:
    sys.stdout.write(report.to_json().replace("\n", " ") + "\n")
    sys.stdout.flush()


def _stay(_number: int, _frame: object) -> None:
    """Stay: see the module's first lines."""


if __name__ == "__main__":
    sys.exit(main())
