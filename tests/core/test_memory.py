"""What a worker needs, by hand for an 8B model: each part where it belongs, on the GPU or on its host."""

import json

import pytest

from launcher.core.architectures import KNOWN
from launcher.core.ds_config import fill
from launcher.core.memory import Memory, memory
from launcher.core.memory_chunks import chunk_of
from launcher.core.recipe import Adapter, ModelChoice
from launcher.core.run_plan import RunPlan
from launcher.storage.shipped import shipped

NAME = "meta-llama/Llama-3.1-8B"
PARAMETERS, LORA = 8_030_261_248, 41_943_040
"""Its weights, and those of an adapter of rank 16 on all linear layers."""
EMBEDDING = 128_256 * 4096
BUCKET = 2 * 4096**2


def needed(deepspeed="zero3", *, precision="bf16", workers=8, micro_batch=1, accumulation=1, checkpointing=True,
           attention="flash_attention_2", adapter=None, length=4096, device="cuda", segments=(), stages=1,
           chunked=False) -> Memory:
    template = shipped("ds_configs", f"{deepspeed}.json")
    assert template is not None
    model = ModelChoice.model_validate({"path": NAME, "precision": precision, "attention": attention,
                                        "gradient_checkpointing": checkpointing,
                                        "speed": {"chunked_cross_entropy": chunked}})
    plan = RunPlan.model_construct(model=model, adapter=adapter, ds_template=json.loads(template.read_text()),
                                   sequence_length=length, stages=(None,) * stages, segments=segments)
    config = fill(plan.ds_template, micro_batch=micro_batch, accumulation=accumulation, world_size=workers,
                  precision=precision, clip=1.0, hidden_size=4096)
    found = memory(plan, KNOWN[NAME], config, workers=workers, micro_batch=micro_batch, accumulation=accumulation,
                   device=device)
    assert found is not None
    return found


def part(found: Memory, name: str, where: str = "gpu") -> int:
    return sum(getattr(each, where) for each in found.parts if each.name == name)


@pytest.mark.parametrize(("deepspeed", "precision", "weights", "gradients", "optimizer"), [
    ("zero3", "bf16", 2 / 8, 4 / 8, 12 / 8), ("zero2", "bf16", 2, 4 / 8, 12 / 8), ("zero1", "bf16", 2, 8.5, 12 / 8),
    # fp32 weights have masters beside them, too.
    ("zero3", "fp32", 4 / 8, 4 / 8, 12 / 8), ("zero2", "fp32", 4, 4 / 8, 12 / 8), ("zero1", "fp32", 4, 4.5, 12 / 8),
])
def test_each_stage_spreads_what_it_shards_over_eight_workers(deepspeed, precision, weights, gradients, optimizer):
    found = needed(deepspeed, precision=precision)
    assert part(found, "weights") == pytest.approx(weights * PARAMETERS)
    assert part(found, "gradients") == pytest.approx(gradients * PARAMETERS)
    assert part(found, "optimizer") == pytest.approx(optimizer * PARAMETERS)


def test_an_optimizer_on_the_host_takes_masters_moments_and_two_sets_of_gradients_there():
    found = needed("zero3_cpu_optimizer")
    assert part(found, "optimizer", "host") == pytest.approx(12 / 8 * PARAMETERS)
    # Page-locked buffers are powers of two: 4 GB of gradients take 4 GiB each.
    assert part(found, "gradients", "host") == 2 * 2**32 and part(found, "gradients") == part(found, "optimizer") == 0
    assert part(found, "weights") == pytest.approx(2 / 8 * PARAMETERS)


def test_parameters_on_the_host_leave_only_what_is_gathered_on_the_gpu():
    found, beside = needed("zero3_cpu_parameters"), needed("zero3_cpu_optimizer")
    assert part(found, "weights") == 0 and part(found, "weights", "host") == 2**31
    assert part(found, "gathered weights") == part(beside, "gathered weights") > 0
    assert found.gpu_bytes < beside.gpu_bytes


def test_of_a_large_model_so_much_is_gathered_as_may_live_and_of_a_small_one_all():
    assert part(needed(), "gathered weights") == 2 * (10**9 + EMBEDDING + BUCKET)
    assert part(needed(workers=1), "gathered weights") == 0, "a slice that is the whole is gathered by nobody"


def test_a_gradient_larger_than_the_bucket_is_whole_twice_while_it_is_reduced():
    assert part(needed(), "buckets") == 4 * BUCKET + (2 + 4) * EMBEDDING


def test_logits_are_three_times_in_fp32_while_their_gradients_are_computed():
    assert part(needed(micro_batch=2), "logits") == 3 * 4 * 128_256 * 2 * 4096


def test_by_chunks_logits_are_those_of_a_few_tokens_in_fp32_and_once_more_as_weights_are():
    assert part(needed(chunked=True), "logits") == (4 + 2) * 256 * 128_256
    assert part(needed(chunked=True, precision="fp32", attention="sdpa"), "logits") == 4 * 256 * 128_256
    # 32,768 tokens of 4096 numbers: by half as many as make logits as large as these.
    assert part(needed(chunked=True, length=32_768), "logits") == (4 + 2) * 512 * 128_256
    assert chunk_of(51, 16, 3000) == 13, "few tokens are not computed whole either"
    assert needed(chunked=True).gpu_bytes < needed().gpu_bytes - 4 * 2**30


def test_on_a_cpu_chunks_of_bf16_compute_with_four_fp32_heads():
    found = needed(chunked=True, device="cpu", attention="sdpa", micro_batch=64)
    assert part(found, "logits", "host") == 4 * 4 * EMBEDDING + 4 * 4096 * 128_256


def test_checkpointing_leaves_the_input_of_each_layer():
    kept, everything = needed(), needed(checkpointing=False)
    inputs, ends = 32 * 2 * 4096 * 4096, 4096 * (6 + 4) * 4096
    assert part(kept, "activations") == inputs + ends
    # A layer's own by hand: two norms, queries to result, the feed-forward's four, and what enters both blocks.
    layer = 4096 * (2 * 6 * 4096 + 2 * 2 * (4096 + 1024) + 4 * 32 + 4 * 2 * 14_336 + 2 * 2 * 4096)
    assert part(everything, "activations") == 32 * layer + ends


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_other_kernels_than_flash_attention_need_more_and_eager_grows_with_the_square_of_rows(attention):
    flash, other = needed(checkpointing=False), needed(checkpointing=False, attention=attention)
    assert other.gpu_bytes > flash.gpu_bytes
    longer = needed(checkpointing=False, attention=attention, length=8192)
    growth = part(longer, "activations") / part(other, "activations")
    assert growth > (3.5 if attention == "eager" else 2.0)


def test_an_adapter_needs_gradients_and_an_optimizer_for_itself_alone():
    found = needed(adapter=Adapter())
    assert part(found, "weights") == pytest.approx(2 / 8 * (PARAMETERS + LORA))
    assert part(found, "optimizer") == pytest.approx(12 / 8 * LORA)
    assert part(found, "buckets") < 2**29, "no gradient of an embedding"


def test_adapters_of_earlier_stages_compute_and_wait_in_host_memory():
    one, many = needed(adapter=Adapter()), needed(adapter=Adapter(per_stage="merged"), stages=3)
    assert part(many, "weights") - part(one, "weights") == pytest.approx(2 / 8 * 2 * LORA)
    assert part(many, "parked", "host") == pytest.approx(12 / 8 * 2 * LORA)
    assert part(many, "optimizer") == part(one, "optimizer") and not part(one, "parked", "host")
    assert part(many, "activations") == part(one, "activations")
    stacked = needed(adapter=Adapter(per_stage="stacked"), stages=3, checkpointing=False)
    assert part(stacked, "activations") > part(needed(adapter=Adapter(), checkpointing=False), "activations")


def test_workers_on_a_cpu_have_all_of_it_in_the_memory_of_their_machine():
    found = needed("zero3_cpu_optimizer", device="cpu", workers=2)
    assert found.gpu_bytes == 0 and found.host_bytes > 20 * PARAMETERS / 2


def test_the_sum_of_the_parts_is_what_is_needed_at_the_peak():
    for deepspeed in ("zero1", "zero2", "zero3", "zero3_cpu_optimizer", "zero3_cpu_parameters"):
        found = needed(deepspeed)
        assert found.gpu_bytes == sum(each.gpu for each in found.parts)
        assert found.host_bytes == sum(each.host for each in found.parts)


def test_with_few_rows_and_much_state_the_peak_is_the_optimizer_s():
    found = needed("zero3", precision="fp32", length=8, device="cpu", workers=2)
    assert found.peak == "update" and "update" in {each.name for each in found.parts}


def test_an_adapter_of_unknown_size_is_not_guessed():
    model = ModelChoice.model_validate({"path": NAME})
    plan = RunPlan.model_construct(model=model, adapter=Adapter(targets=("nothing",)), ds_template={},
                                   sequence_length=64, stages=(), segments=())
    assert memory(plan, KNOWN[NAME], {"zero_optimization": {"stage": 3}}, workers=1, micro_batch=1, accumulation=1,
                  device="cuda") is None
