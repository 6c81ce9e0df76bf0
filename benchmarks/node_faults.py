"""What happens to the nodes of a cluster that a run is on, as faults of a drill, and how many nodes are left then.

Decides whom a fault of the cluster hits, and what brings the cluster back. How each part is hurt is
`benchmarks.ray_nodes`; ranks and controllers are hurt as everywhere (`launcher.orchestration.faults`).
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from random import Random

from benchmarks.machines import Machine
from benchmarks.ray_nodes import RayNodes, awaited
from launcher.core.errors import INFRASTRUCTURE
from launcher.orchestration.faults import Blow, Fault, LivingRun, fault, signals
from launcher.storage.journal import read_journal
from launcher.storage.process_id import ProcessId

ELSEWHERE = ("a rank killed", "two ranks killed at once", "a rank stopped by SIGSTOP", "the controller killed")
"""Faults of any run."""
GCS = "the head's GCS killed"
DRAIN_S = 60


class NodeFaults:
    """The faults of a run on a cluster."""

    def __init__(self, cluster: RayNodes) -> None:
        self.cluster = cluster
        self._fallen: list[Machine] = []
        """Those whose raylet was killed."""

    def all(self) -> list[Fault]:
        """Return every way to hurt a run here."""
        return [
            Fault("a node without power", self._on_used(self.cluster.lose_power), mend=self.mend),
            Fault("a node's network cut", self._on_used(self.cluster.cut_network), mend=self.mend),
            Fault("a node's raylet killed", self._on_used(self._kill_raylet), mend=self.mend),
            Fault("a node's agent killed", signals(self._agent)),
            *map(fault, ELSEWHERE),
            Fault(GCS, signals(lambda _living, _chance: iter(self.cluster.gcs())), exit_code=INFRASTRUCTURE,
                  mend=self.cluster.restart),
        ]

    def mend(self) -> None:
        """Bring the cluster back to as many nodes as it is meant to have."""
        self.cluster.mend_network()
        while self._fallen:
            machine = self._fallen.pop()
            if machine in self.cluster.nodes:
                self.cluster.join(machine)
        self.cluster.fill()

    def _on_used(self, act: Callable[[Machine], None]) -> Blow:
        """Return the blow that does something to one of the nodes that ranks live on."""

        def strike(living: LivingRun, chance: Random) -> bool:
            found = self.used(living)
            if found:
                act(chance.choice(found))
            return bool(found)

        return strike

    def whole(self) -> list[Machine]:
        """Return the nodes on which a run could go on."""
        return [each for each in self.cluster.nodes if each not in (*self._fallen, *self.cluster.cut)]

    def used(self, living: LivingRun) -> list[Machine]:
        """Return the nodes of the run's present attempt."""
        started = [event for event in read_journal(living.run) if event["event"] == "attempt_started"]
        names = {place["node"] for event in started[-1:] for place in event["workers"]}
        return [machine for machine in self.cluster.nodes if machine.name in names]

    def _kill_raylet(self, machine: Machine) -> None:
        for raylet in self.cluster.raylets(machine):
            raylet.kill()
        self._fallen.append(machine)

    def _agent(self, _living: LivingRun, chance: Random) -> Iterator[ProcessId | None]:
        yield chance.choice(self.cluster.agents() or [None])


class Walk:
    """Nodes that come and go: after each fault there are as many as chance says, between one and all."""

    def __init__(self, faults: NodeFaults, most: int) -> None:
        self._faults, self._most = faults, most
        self._chance = Random(0)

    def begin(self, seed: int) -> None:
        """Let chance follow from a run's seed, and begin with all nodes."""
        self._chance = Random(f"walk {seed}")
        self._faults.mend()

    def all(self) -> list[Fault]:
        """Return the ways to hurt a run while its nodes come and go."""
        return [replace(each, strike=partial(self._strike, each), mend=partial(self._step, each))
                for each in self._faults.all() if each.name != GCS]

    def _strike(self, hurt: Fault, living: LivingRun, chance: Random) -> bool:
        struck = hurt.strike(living, chance)
        if not self._faults.whole():
            # It was the only one, and what follows is seen once the run goes on.
            self._faults.cluster.add()
        return struck

    def _step(self, hurt: Fault) -> None:
        """Put right what the fault broke, then let nodes come, or be drained and taken away."""
        cluster, wanted = self._faults.cluster, self._chance.randint(1, self._most)
        cluster.meant = wanted
        hurt.mend()
        cluster.fill()
        while len(cluster.nodes) > wanted:
            machine = self._chance.choice(cluster.nodes)
            cluster.drain(machine, DRAIN_S)
            awaited(lambda machine=machine: not cluster.of_the_run(machine), f"the run's leaving {machine.name}")
            cluster.lose_power(machine)
        cluster.meant = self._most
