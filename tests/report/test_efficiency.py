"""How much arithmetic a run's speed comes to."""

from typing import Any

import pytest

from launcher.core.hardware import GPUS
from launcher.core.recipe_adapter import Adapter
from launcher.core.run_plan import RunPlan
from launcher.core.step_work import flops_of_token, shape_of
from launcher.core.trainable import StageAdapter
from launcher.report.efficiency import efficiency, recent_efficiency
from launcher.report.fold import RunFold
from launcher.storage.model_facts import facts_at
from tests.core.planned import planned
from tests.report.journals import started, step

LLAMA = "meta-llama/Llama-3.1-8B"
PLAN = planned({"a": 100}, [{"name": "one", "length": {"steps": 4}, "mix": {"a": 1}}])


def plan(path: str = LLAMA, **more: Any) -> RunPlan:
    model = PLAN.model.model_copy(update={"path": path, "init": None, "precision": "bf16"})
    return PLAN.model_copy(update={"model": model, **more})


def test_arithmetic_counts_each_weight_as_often_as_it_is_used() -> None:
    facts = facts_at(LLAMA)
    assert facts is not None
    whole = shape_of(facts)
    assert flops_of_token(whole) == 6 * whole.multiplied < 6 * facts.parameters
    assert flops_of_token(shape_of(facts, 1000)) == 4 * (whole.multiplied + 1000) + 2 * 1000


def test_on_a_known_gpu_it_is_a_share_of_its_peak() -> None:
    facts = facts_at(LLAMA)
    assert facts is not None
    speed = 0.4 * GPUS["H100-80"].flops_16 / flops_of_token(shape_of(facts))
    found = efficiency(plan(), "NVIDIA H100 80GB HBM3", speed)
    assert found.mfu == pytest.approx(0.4) and found.peak == "H100's 989.4 TFLOP/s in bf16"
    assert found.told.endswith("MFU: 40.0% of H100's 989.4 TFLOP/s in bf16.")


def test_the_speed_of_a_worker_is_that_of_recent_steps() -> None:
    fold = RunFold([*started(1, 1.0), *(step(number, 1.0 + number, device="NVIDIA H200") for number in (1, 2))])
    # 100 tokens in half a second, on two workers.
    assert recent_efficiency(plan(), fold) == efficiency(plan(), "NVIDIA H200", 100.0)
    assert recent_efficiency(plan(), RunFold()).mfu is None


@pytest.mark.parametrize(("device", "told"), [
    ("", "no step names a GPU"), ("AMD Instinct MI300X", "divide by the peak of AMD Instinct MI300X"),
    ("NVIDIA H100 PCIe", "divide by the peak of NVIDIA H100 PCIe"), ("NVIDIA H100 NVL", "divide by the peak"),
    ("NVIDIA GeForce RTX 4090 Laptop GPU", "divide by the peak")])
def test_a_peak_that_is_not_known_is_not_guessed(device: str, told: str) -> None:
    found = efficiency(plan(), device, 100.0)
    assert found.mfu is None and found.told.startswith("Reached ") and told in found.told


def test_stages_with_adapters_of_their_own_do_the_arithmetic_of_one() -> None:
    adapter = Adapter(rank=2, per_stage="merged")
    parts = tuple(each.model_copy(update={"trainable": StageAdapter(of_stage=each.index)}) for each in PLAN.segments)
    one, many = plan(adapter=adapter), plan(adapter=adapter, segments=parts)
    assert efficiency(many, "NVIDIA H200", 100.0) == efficiency(one, "NVIDIA H200", 100.0)
    assert efficiency(many, "NVIDIA H200", 100.0).mfu is not None


def test_what_else_is_not_known_is_said() -> None:
    parts = tuple(segment.model_copy(update={"trainable": {"globs": ("lm_head",)}}) for segment in PLAN.segments)
    adapter = Adapter.model_validate({"kind": "lora", "rank": 2, "targets": ["nowhere"]})
    for made, told in ((None, "without the plan"), (plan("/nowhere"), "shape is not"),
                       (plan(segments=parts), "train parts of the model"), (plan(adapter=adapter), "adapter's size")):
        found = efficiency(made, "NVIDIA H200", 100.0)
        assert found.mfu is None and told in found.told
    assert efficiency(plan(), "NVIDIA H200", None).told.startswith("MFU: not known")
