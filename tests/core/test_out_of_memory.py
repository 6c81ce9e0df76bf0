"""Out of memory: half the rows at once, or what a person can change."""

import pytest

from launcher.core.attempt import AttemptPlan, Cluster
from launcher.core.out_of_memory import after_out_of_memory, what_to_change
from launcher.core.recipe_running import OutOfMemory
from tests.core.planned import planned


@pytest.mark.parametrize(("policy", "before", "after"), [
    ("halve", 8, 4), ("halve", 5, 2), ("halve", 1, None), ("stop", 8, None)])
def test_the_micro_batch_is_halved_if_the_recipe_allows(policy: OutOfMemory, before: int, after: int | None) -> None:
    assert after_out_of_memory(policy, before) == after


def test_what_to_change_is_told_with_the_present_values() -> None:
    plan = planned({"a": 40}, [{"length": {"steps": 3}, "mix": {"a": 1}}])
    attempt = AttemptPlan(attempt=1, plan="", cluster=Cluster(nodes=()), ranks=(), world_size=2, data_parallel=2,
                          micro_batch=4, device="cuda", threads=1, ds_config={"zero_optimization": {"stage": 2}})
    told = what_to_change(plan, attempt, "stop")
    assert told.splitlines() == [
        "out of memory; what would need less:",
        "  micro_batch: 2 instead of 4, with the same arithmetic (out_of_memory: halve does so by itself)",
        "  model.gradient_checkpointing: true, with the same arithmetic and about a third more compute",
        "  a sequence_length below 100, in a new run",
        "  deepspeed: zero3 instead of ZeRO stage 2",
        "  deepspeed: zero3_cpu_optimizer, which keeps the optimizer in the memory of the host",
        "  more workers than 2: the state of the model is divided among them"]
    least = attempt.model_copy(update={"micro_batch": 1, "device": "cpu",
                                       "ds_config": {"zero_optimization": {"stage": 3}}})
    assert "micro_batch" not in what_to_change(plan, least, "stop") and "deepspeed" not in what_to_change(
        plan, least, "stop")
