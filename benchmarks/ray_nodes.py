"""A Ray cluster of simulated machines, as somebody else would have started it: a head without slots, and nodes.

Decides what a node is (one CPU: one worker), and how each part of the cluster is hurt and brought back. Machines
themselves are `benchmarks.machines`; the run that is on the cluster, and what must come of it, is the caller's.
"""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Self

from benchmarks.harness import environment as contestants
from benchmarks.machines import NETWORK, Machine, Machines
from launcher.orchestration.drilled_command import Ground
from launcher.orchestration.faults import first_word
from launcher.orchestration.worker_process import WORKER_MODULE
from launcher.platforms.slurm_ray import RAY
from launcher.storage.process_id import ProcessId, command_line

PORT = 6379
ADDRESS = f"{NETWORK}.1:{PORT}"
MEMORY = 80 * 2**20
ENVIRONMENT = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "RAY_enable_metrics_collection": "0"}
PATIENCE_S = 90.0
TOLD_S = 30.0
"""For a node that was given up to learn it, once it is heard again."""


class RayNodes:
    """The cluster, as a context: afterwards nothing of it is left."""

    def __init__(self, nodes: int) -> None:
        self.meant = nodes
        """How many nodes there are when all is well."""
        self._cleanup = ExitStack()
        self.machines: Machines
        self.cut: list[Machine] = []
        """Those whose network is cut."""

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.machines = stack.enter_context(Machines())
            self.head = self.machines.boot()
            self._start_head()
            self.fill()
            self._cleanup = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._cleanup.close()

    @property
    def nodes(self) -> list[Machine]:
        """Return the machines that have power, the head left out."""
        return self.machines.live[1:]

    def ground(self) -> Ground:
        """Return where people type their commands: on the head."""
        return Ground(tuple(self.head.argv(())), self.of_the_run)

    def add(self) -> Machine:
        """Bring another node: a new machine with a new name."""
        machine = self.machines.boot()
        self.join(machine)
        return machine

    def fill(self) -> None:
        """Bring as many nodes as are missing."""
        while len(self.nodes) < self.meant:
            self.add()

    def join(self, machine: Machine) -> None:
        """Start Ray on a machine."""
        self._ray(machine, "--address", ADDRESS, "--num-cpus", "1")

    def lose_power(self, machine: Machine) -> None:
        """End a node and everything on it at once, without a word to its peers."""
        self.cut = [each for each in self.cut if each is not machine]
        self.machines.lose_power(machine)

    def cut_network(self, machine: Machine) -> None:
        """Leave a node alone with its processes."""
        self.machines.cut_network(machine)
        self.cut.append(machine)

    def mend_network(self) -> None:
        """Plug every node in again. One that the cluster has given up by then is told so, and starts Ray anew."""
        while self.cut:
            machine = self.cut.pop()
            self.machines.mend_network(machine)
            with suppress(TimeoutError):
                awaited(lambda machine=machine: not self.raylets(machine), "the end of a raylet", TOLD_S)
                self.join(machine)

    def drain(self, machine: Machine, deadline_s: int) -> None:
        """Announce that a node will be taken away, as a spot machine's platform does."""
        command = [*RAY, "drain-node", "--address", ADDRESS, "--node-id", node_id(self.raylets(machine)[0]), "--reason",
                   "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "spot", "--deadline-remaining-seconds",
                   str(deadline_s)]
        subprocess.run(self.head.argv(command), check=True, capture_output=True, env=environment())

    def restart(self) -> None:
        """Bring the cluster up anew at its address: a head, and as many nodes."""
        for machine in list(self.nodes):
            self.lose_power(machine)
        for process in self._daemons():
            process.kill()
        awaited(lambda: not list(self._daemons()), "the end of the old head")
        # Ray would find its old address there, and take another simulated cluster's processes for its own.
        self._done("rm", "-f", str(self.machines.local / "ray_current_cluster"))
        self._start_head()
        self.fill()

    def raylets(self, machine: Machine) -> list[ProcessId]:
        """Return a machine's raylet, if it lives."""
        return [each for each in machine.processes() if Path(first_word(each)).name == "raylet"]

    def gcs(self) -> list[ProcessId]:
        """Return the head's global control service, if it lives."""
        return [each for each in self.head.processes() if Path(first_word(each)).name == "gcs_server"]

    def agents(self) -> list[ProcessId]:
        """Return the node agents of all runs on nodes that can be reached."""
        return [each for machine in self.nodes if machine not in self.cut for each in machine.processes()
                if "RayNodeAgent" in first_word(each)]

    def of_the_run(self, *machines: Machine) -> list[ProcessId]:
        """Return agents and workers on these nodes, or on all: what belongs to runs, and not to the cluster."""
        return [each for machine in machines or self.nodes for each in machine.processes()
                if "RayNodeAgent" in first_word(each) or WORKER_MODULE in command_line(each)]

    def scratches(self) -> list[Path]:
        """Return the folders of agents on nodes that have power."""
        return [folder for machine in self.nodes for folder in self._temporary(machine).glob("lr-*")]

    def _start_head(self) -> None:
        # Without slots, so that losing a node never loses the command with it.
        self._ray(self.head, "--head", "--port", str(PORT), "--num-cpus", "0", "--include-dashboard", "false",
                  "--temp-dir", str(self.machines.local))

    def _done(self, *command: str) -> None:
        subprocess.run(self.head.argv(command), check=True)

    def _ray(self, machine: Machine, *options: str) -> None:
        self._temporary(machine).mkdir(exist_ok=True)
        command = [*RAY, "start", "--node-ip-address", machine.address, "--num-gpus", "0", "--disable-usage-stats",
                   "--object-store-memory", str(MEMORY), "--include-log-monitor", "false", *options]
        log = self.machines.folder / f"{machine.name}.log"
        with log.open("ab") as output:
            done = subprocess.run(machine.argv(command), stdout=output, stderr=output, stdin=subprocess.DEVNULL,
                                  env=environment() | {"TMPDIR": str(self._temporary(machine))}, check=False)
        if done.returncode:
            raise RuntimeError(f"Ray did not start on {machine.name}: {log.read_text()[-2000:]}")

    def _temporary(self, machine: Machine) -> Path:
        return self.machines.folder / machine.name

    def _daemons(self) -> Iterator[ProcessId]:
        """Yield what is left of Ray on the head; the command that people typed there is not of it."""
        session = f"{self.machines.local}/session"
        return (each for each in self.head.processes() if any(session in word for word in command_line(each)))


def environment() -> dict[str, str]:
    """Return the environment of everything on the cluster."""
    return contestants() | ENVIRONMENT


def node_id(raylet: ProcessId) -> str:
    """Return what Ray calls a node, from its raylet's command line."""
    return next(word.partition("=")[2] for word in command_line(raylet) if word.startswith("--node_id="))


def awaited(condition: Callable[[], object], what: str, patience_s: float = PATIENCE_S) -> None:
    """Wait until a condition holds. Raises TimeoutError if it never does."""
    deadline = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {patience_s:.0f} s")
        time.sleep(0.1)
