"""This node's part of an all-reduce between the nodes of a job, in a process of its own, which is ended if it hangs.

The process is `launcher.runtime.reduce_trial`: only it imports torch.
"""

import os
import subprocess
import sys
from contextlib import suppress

from launcher.core.site_facts import Reduction

MODULE = "launcher.runtime.reduce_trial"
REDUCE_S = 170.0
"""For importing torch from a cold shared file system on every node at once, and for two groups that do not form."""
SAID = 300


def reduce(address: str, port: int, rank: int, world: int, mine: str, *, gpu: bool) -> tuple[Reduction, ...]:
    """Take part as a rank; return what each backend came to."""
    command = [sys.executable, "-m", MODULE, address, str(port), str(rank), str(world), mine, str(int(gpu))]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          env=os.environ | {"OMP_NUM_THREADS": "1"}) as trial:
        try:
            said, complaint = trial.communicate(timeout=REDUCE_S)
            why = f"it ended with {trial.returncode}: {_last_line(complaint)}"
        except subprocess.TimeoutExpired:
            trial.kill()
            said, complaint = trial.communicate()
            why = f"it did not end within {REDUCE_S:.0f} s"
    found = list(_read(said))
    told = {each.backend for each in found}
    expected = ("gloo", "nccl") if gpu else ("gloo",)
    return (*found, *(Reduction(backend=backend, problem=why) for backend in expected if backend not in told))


def _read(said: str) -> list[Reduction]:
    found: list[Reduction] = []
    for line in said.splitlines():
        with suppress(ValueError):  # NCCL prints to standard output, too.
            found.append(Reduction.from_json(line))
    return found


def _last_line(complaint: str) -> str:
    lines = [line for line in complaint.splitlines() if line.strip()]
    return lines[-1][:SAID] if lines else "it said nothing"
