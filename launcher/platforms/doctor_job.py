"""What a doctor's job is asked, in what order, and how the answers become facts.

A node that does not answer one question in time is silent from then on: it is told of, and nothing waits for it again.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from launcher.core.errors import PlatformError
from launcher.core.site_facts import Clock, Folder, Job, Machine, Reduction, Way
from launcher.platforms.doctor_node import Ask, Question
from launcher.platforms.doctor_step import DoctorStep
from launcher.platforms.port_facts import Door

START_S = 120.0
"""For the first answer: Python from a cold shared file system, a prolog of the site."""
CLOCKS = 3
"""Times each clock is asked; the quickest answer says most."""
PATIENCE_S: dict[Ask, float] = {"clock": 20.0, "look": 75.0, "write": 150.0, "see": 120.0, "listen": 20.0, "ways": 30.0,
                                "reduce": 200.0}
STORE_PORT = 2
"""Of the first node's block: the first and the last were listened on."""
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Wish:
    """What a doctor's job is to be like."""

    nodes: int
    limit_s: float
    wait_s: float
    folders: tuple[str, ...]
    nonce: str
    options: Mapping[str, str | int | bool | None]


def examine(wish: Wish, partition: str, tell: Tell) -> Job:
    """Run a short job on some nodes and return what it found; trouble with the job itself is a fact, too."""
    options = dict(wish.options) | ({"partition": partition} if partition else {})
    try:
        with DoctorStep(wish.nodes, wish.limit_s, options) as step:
            names = step.wait_for_nodes(wish.wait_s, tell)
            tell(f"job {step.job} on {', '.join(names)}")
            return Examination(step, names, wish, tell).job(partition)
    except PlatformError as error:
        return Job(partition=partition, problem=str(error))


class Examination:
    """The questions to the nodes of one job."""

    def __init__(self, step: DoctorStep, names: Sequence[str], wish: Wish, tell: Tell) -> None:
        self._step, self._names, self._wish, self._tell = step, names, wish, tell
        self._nodes = list(range(len(names)))
        self._silent: dict[str, str] = {}
        self._no_way: dict[str, str] = {}

    def job(self, partition: str) -> Job:
        """Ask everything; return the facts."""
        self._tell("asking each node what it is")
        clocks = self._clocks()
        machines = {name: Machine.model_validate(said) for name, said in self._ask("look").items()}
        self._tell("writing to the shared folders")
        folders = self._folders()
        self._tell("connecting the nodes")
        doors = self._doors()
        ways = self._ways(doors)
        reductions = self._reductions(doors, gpu=bool(machines) and all(each.gpus for each in machines.values()))
        return Job(partition=partition, names=tuple(self._names), machines=machines, clocks=clocks, folders=folders,
                   no_way=self._no_way, ways=ways, reductions=reductions, silent=self._silent)

    def _ask(self, ask: Ask, patience_s: float | None = None, nodes: Sequence[int] | None = None,
             **more: Any) -> dict[str, Any]:
        """Put a question to those who still answer; return what they said, by name."""
        asked = [node for node in self._nodes if nodes is None or node in nodes]
        if not asked:
            return {}
        patience_s = patience_s or PATIENCE_S[ask]
        answers = self._step.ask(Question(number=0, ask=ask, nodes=tuple(asked), **more), patience_s)
        for node in asked:
            if node not in answers:
                self._nodes.remove(node)
                self._silent[self._names[node]] = self._silence(node, ask, patience_s)
            elif problem := answers[node].problem:
                (self._no_way if ask == "listen" else self._silent)[self._names[node]] = problem
        return {self._names[node]: answers[node].said for node in asked
                if node in answers and not answers[node].problem}

    def _silence(self, node: int, ask: Ask, patience_s: float) -> str:
        ended = self._step.gone(node)
        words = f"its task ended before `{ask}`" if ended else f"no answer to `{ask}` within {patience_s:.0f} s"
        complaint = self._step.complaint(node, self._names[node])
        return f"{words}: {complaint}" if complaint else words

    def _clocks(self) -> dict[str, Clock]:
        self._ask("clock", START_S)
        best: dict[str, Clock] = {}
        for _ in range(CLOCKS):
            for node in list(self._nodes):
                before = time.time()
                said = self._ask("clock", nodes=[node]).get(self._names[node])
                half = (time.time() - before) / 2
                if said is not None and (self._names[node] not in best or best[self._names[node]].uncertain_s > half):
                    best[self._names[node]] = Clock(ahead_s=said - before - half, uncertain_s=half)
        return best

    def _folders(self) -> dict[str, tuple[Folder, ...]]:
        shared: dict[str, Any] = {"folders": self._wish.folders, "nonce": self._wish.nonce}
        wrote = {name: TypeAdapter(tuple[Folder, ...]).validate_python(said)
                 for name, said in self._ask("write", **shared).items()}
        right = {folder: tuple(name for name, each in wrote.items() if each[number].bytes_s is not None)
                 for number, folder in enumerate(self._wish.folders)}
        unseen: dict[str, dict[str, tuple[str, ...]]] = {}
        for folder, names in right.items():
            asked = self._ask("see", nodes=[self._names.index(name) for name in names], names=names,
                              nonce=self._wish.nonce, folders=(folder,))
            unseen[folder] = {name: tuple(said[0]) for name, said in asked.items()}
        return {name: tuple(folder.model_copy(update={"unseen": unseen[folder.path].get(name, ())}) for folder in each)
                for name, each in wrote.items()}

    def _doors(self) -> list[Door]:
        """Let every node listen, the first one first: the others find their address by the way to it."""
        if not self._nodes:
            return []
        first, *others = self._nodes
        names = [self._names[node] for node in self._nodes]
        said = list(self._ask("listen", nodes=[first], names=tuple(names)).values())
        if said:
            said += self._ask("listen", nodes=others, head=Door.model_validate(said[0]).address).values()
        return [Door.model_validate(each) for each in said]

    def _ways(self, doors: Sequence[Door]) -> dict[str, tuple[Way, ...]]:
        asked = self._ask("ways", nodes=self._who(doors), doors=tuple(doors)) if len(doors) > 1 else {}
        return {name: TypeAdapter(tuple[Way, ...]).validate_python(said) for name, said in asked.items()}

    def _reductions(self, doors: Sequence[Door], *, gpu: bool) -> dict[str, tuple[Reduction, ...]]:
        ready = [door for door in doors if self._names.index(door.name) in self._nodes]
        if len(ready) < 2:
            return {}
        self._tell("summing over all nodes")
        asked = self._ask("reduce", nodes=self._who(ready), head=ready[0].address, port=ready[0].block[0] + STORE_PORT,
                          gpu=gpu)
        return {name: TypeAdapter(tuple[Reduction, ...]).validate_python(said) for name, said in asked.items()}

    def _who(self, doors: Sequence[Door]) -> list[int]:
        return [self._names.index(door.name) for door in doors]
