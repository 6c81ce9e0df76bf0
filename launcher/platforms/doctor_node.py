"""One node of a doctor's job: `srun python -m launcher.platforms.doctor_node`, one task on each node.

Answers questions, a line of JSON each, from its standard input on its standard output, until the input closes. Decides
nothing: what is asked when is `doctor_job`, how things are looked at the modules `*_facts`.
"""

import os
import sys
import time
from collections.abc import Callable
from typing import Any, Literal

from pydantic import BaseModel

from launcher.core.document import Document
from launcher.core.errors import LauncherError
from launcher.platforms import folder_facts
from launcher.platforms.addresses import head_address, towards
from launcher.platforms.machine_facts import look
from launcher.platforms.port_facts import Door, Listeners, ways
from launcher.platforms.ports import free_block, nobody_listens
from launcher.platforms.reduce_facts import reduce
from launcher.platforms.slurm_environment import JOB, NODE, NODE_NAME

Ask = Literal["clock", "look", "write", "see", "listen", "ways", "reduce"]


class Question(Document):
    """What the machine of the command asks its nodes."""

    number: int
    ask: Ask
    nodes: tuple[int, ...]
    """Who is asked, counted from 0 in the order of the job's nodes."""
    names: tuple[str, ...] = ()
    """listen: the nodes, in their order; see: whose files to look for."""
    folders: tuple[str, ...] = ()
    nonce: str = ""
    head: str = ""
    """listen: the first node's address, once it is known; reduce: where its store is."""
    doors: tuple[Door, ...] = ()
    port: int = 0
    gpu: bool = False


class Answer(Document):
    """What a node answers."""

    number: int
    node: int
    said: Any = None
    """What was asked for, by the question's kind."""
    problem: str = ""
    """Why it cannot be said."""


class Node:
    """This task: what it was asked before stays true for what follows."""

    def __init__(self) -> None:
        self._node, self._name = int(os.environ[NODE]), os.environ[NODE_NAME]
        self._listeners = Listeners()
        self._address = ""

    def answer(self, question: Question) -> Answer:
        """Answer one question; trouble is an answer, too."""
        asked: dict[Ask, Callable[[Question], Any]] = {
            "clock": lambda _: time.time(), "look": lambda _: look(os.environ), "write": self._write, "see": self._see,
            "listen": self._listen, "ways": self._ways, "reduce": self._reduce}
        try:
            return Answer(number=question.number, node=self._node, said=_plain(asked[question.ask](question)))
        except (LauncherError, OSError) as error:
            return Answer(number=question.number, node=self._node, problem=str(error))

    def asked(self, question: Question) -> bool:
        """Return whether a question is for this node."""
        return self._node in question.nodes

    def _write(self, question: Question) -> list[Any]:
        return [folder_facts.write(folder, question.nonce, self._name) for folder in question.folders]

    def _see(self, question: Question) -> list[Any]:
        others = [name for name in question.names if name != self._name]
        return [folder_facts.see(folder, question.nonce, others) for folder in question.folders]

    def _listen(self, question: Question) -> Door:
        self._address = towards(question.head) if question.head else head_address(question.names)
        block = free_block(int(os.environ[JOB]), self._node, nobody_listens)
        return self._listeners.door(self._name, self._address, block)

    def _ways(self, question: Question) -> tuple[Any, ...]:
        return ways(self._name, question.doors)

    def _reduce(self, question: Question) -> tuple[Any, ...]:
        self._listeners.close()
        rank = question.nodes.index(self._node)
        return reduce(question.head, question.port, rank, len(question.nodes), self._address, gpu=question.gpu)


def _plain(said: Any) -> Any:
    if isinstance(said, BaseModel):
        return said.model_dump(mode="json")
    return [_plain(each) for each in said] if isinstance(said, list | tuple) else said


def main() -> int:
    """Answer until nobody asks any more."""
    node = Node()
    for line in sys.stdin.buffer:
        question = Question.from_json(line)
        if node.asked(question):
            sys.stdout.write(node.answer(question).model_dump_json() + "\n")
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
