"""The questions of a doctor's job, put to nodes that answer from a table, or not at all."""

import time
from typing import Any

import pytest

from launcher.core.site_facts import Folder, Gpu, Machine, Reduction
from launcher.platforms.doctor_job import Examination, Wish
from launcher.platforms.doctor_node import Answer, Question
from launcher.platforms.port_facts import Door

WISH = Wish(nodes=3, limit_s=60.0, wait_s=60.0, folders=("/shared",), nonce="n", options={})
NAMES = ("n0", "n1", "n2")


class Nodes:
    """Three nodes. `silent` names whom one question ends, `lost` whose folder is another one."""

    def __init__(self, *, silent: dict[int, str] | None = None, lost: int | None = None, gpus: int = 0) -> None:
        self.silent, self.lost, self.gpus = silent or {}, lost, gpus
        self.asked: list[Question] = []

    def ask(self, question: Question, _patience_s: float) -> dict[int, Answer]:
        self.asked.append(question)
        return {node: Answer(number=0, node=node, said=self._say(question, node)) for node in question.nodes
                if self.silent.get(node) != question.ask}

    def gone(self, _node: int) -> bool:
        return False

    def complaint(self, node: int, _name: str) -> str:
        return f"words of {node}"

    def _say(self, question: Question, node: int) -> Any:
        name = NAMES[node]
        folder = Folder(path="/shared", same=node != self.lost, bytes_s=None if node == self.lost else 1e9)
        gpus = (Gpu(name="H200", memory=1, driver="570"),) * self.gpus
        return {"clock": time.time() + 100 * node, "look": Machine(name=name, gpus=gpus).model_dump(),
                "write": [folder.model_dump()], "see": [[other for other in question.names if other == "never"]],
                "listen": Door(name=name, address=f"10.0.0.{node}", block=(20_000, 20_239), any=40_000).model_dump(),
                "ways": [], "reduce": [Reduction(backend="gloo").model_dump()]}[question.ask]


def examined(nodes: Nodes) -> Any:
    return Examination(nodes, list(NAMES), WISH, lambda _: None).job("long")  # type: ignore[arg-type]


def test_all_nodes_answer_everything_and_clocks_are_measured() -> None:
    nodes = Nodes(gpus=8)
    found = examined(nodes)
    assert found.silent == {} and set(found.machines) == set(found.folders) == set(found.reductions) == set(NAMES)
    assert [round(found.clocks[name].ahead_s, -1) for name in NAMES] == [0, 100, 200]
    reduce = nodes.asked[-1]
    assert (reduce.ask, reduce.nodes, reduce.head, reduce.port, reduce.gpu) == ("reduce", (0, 1, 2), "10.0.0.0", 20_002,
                                                                               True)


@pytest.mark.parametrize("ask", ["clock", "look", "write", "see", "listen", "ways"])
def test_a_node_that_falls_silent_is_told_of_once_and_never_asked_again(ask: str) -> None:
    nodes = Nodes(silent={1: ask})
    found = examined(nodes)
    assert list(found.silent) == ["n1"] and f"no answer to `{ask}` within" in found.silent["n1"]
    assert found.silent["n1"].endswith("words of 1")
    after = nodes.asked[[question.ask for question in nodes.asked].index(ask) + 1:]
    assert not any(1 in question.nodes for question in after if question.ask != ask or ask == "clock")
    assert set(found.reductions) == {"n0", "n2"}


def test_files_of_a_node_whose_folder_is_another_one_are_missed_by_nobody() -> None:
    nodes = Nodes(lost=2)
    found = examined(nodes)
    assert not found.folders["n2"][0].same and found.folders["n0"][0].unseen == ()
    assert [question.names for question in nodes.asked if question.ask == "see"] == [("n0", "n1")]


def test_where_the_first_node_is_gone_the_next_one_is_the_head() -> None:
    found = examined(Nodes(silent={0: "look"}))
    assert list(found.silent) == ["n0"] and set(found.reductions) == {"n1", "n2"}
