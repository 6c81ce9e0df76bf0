"""A real rank that is held now and then is named while it is, under ZeRO-3, where steps take all ranks equally long."""

from pathlib import Path
from typing import Any

import pytest

from launcher.core.recipe import ModelChoice
from launcher.core.run_plan import RunPlan
from launcher.storage.store import LocalStore
from tests.runtime.plain_workers import PlainWorkers, attempt_plan
from tests.runtime.pulses import held_now_and_then
from tests.runtime.tiny import LLAMA, make_plan, write_source, zero_config

MODEL = {"init": {**LLAMA, "hidden_size": 64, "intermediate_size": 256},
         "tokenizer": {"train": {"vocab_size": 300}}, "precision": "fp32"}


class BriskWorkers(PlainWorkers):
    MODULE = "tests.runtime.brisk_worker"


def plan_in(folder: Path) -> RunPlan:
    index = write_source(LocalStore(folder / "cache"), "sums", 200, 0)
    return make_plan([index], ModelChoice.model_validate(MODEL), rows_per_step=16, stage_rows=[3_200_000])


def told(gang: PlainWorkers, name: str) -> list[dict[str, Any]]:
    return [event for event in gang.events[0] if event["event"] == name]


@pytest.mark.campaign
@pytest.mark.parametrize("workers", [2])
def test_a_rank_that_is_held_is_named_while_it_is_and_nobody_before(workers: int, tmp_path: Path) -> None:
    plan, slow = plan_in(tmp_path), 1
    gang = BriskWorkers(tmp_path / "mail", workers)
    try:
        gang.order(tmp_path / "run", str(tmp_path / "cache"), plan,
                   attempt_plan(plan, workers, zero_config(3, workers, 8), 8))
        gang.wait_until(lambda: len(told(gang, "rank_pace")) >= 5)
        assert told(gang, "straggler") == [], told(gang, "rank_pace")
        with held_now_and_then(gang.processes[slow].pid):
            gang.wait_until(lambda: told(gang, "straggler"))
        named = told(gang, "straggler")[0]
        assert (named["rank"], named["slow"], named["node"], named["host"]) == (slow, True, "here", "127.0.0.1")
        gang.wait_until(lambda: len(told(gang, "straggler")) > 1)
        assert [(event["rank"], event["slow"]) for event in told(gang, "straggler")] == [(slow, True), (slow, False)]
        print([event["scores"] for event in told(gang, "rank_pace")], told(gang, "step")[-1]["seconds"],
              [event["seconds"] for event in told(gang, "rank_pace")])
    finally:
        gang.end()
