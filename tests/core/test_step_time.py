"""Planned step times: by hand, and against runs that others published."""

import json

import pytest

from benchmarks.harness import RESULTS
from benchmarks.published_steps import KINDS, Fit, by_stack, foundry, held_out, summary
from launcher.core.architectures import known_facts
from launcher.core.hardware import GPUS
from launcher.core.step_time import FITTED, SHARED, coefficients_of, nominal, step_time
from launcher.core.step_work import TERMS, Geometry, geometry_of, shape_of, work

LLAMA, LORA = known_facts("meta-llama/Llama-3.1-8B"), 41_943_040
EIGHT = {"sequence_length": 8192, "micro_batch": 1, "micro_batches": 2, "ranks": 8, "nodes": 1}
STAGE_3 = {"zero_optimization": {"stage": 3}}


def shape(adapter=None):
    assert LLAMA is not None
    return shape_of(LLAMA, adapter)


def done(config=STAGE_3, adapter=None, **changed):
    return work(shape(adapter), geometry_of(config, **{**EIGHT, **changed}))


@pytest.mark.timeout(60)
def test_published_steps_are_told_within_5_percent_by_a_fit_without_their_model():
    errors = summary(held_out(foundry(), lambda row: row.name))
    assert errors["rows"] == 209 and errors["mean"] <= 0.05 and errors["p90"] <= 0.10


def test_rows_of_several_nodes_are_told_by_rows_of_one():
    rows = foundry()
    one = Fit([row for row in rows if row.how.nodes == 1])
    assert summary([one.error(row) for row in rows if row.how.nodes > 1])["mean"] <= 0.05


def test_other_stacks_are_told_after_one_row_of_each():
    told = by_stack()
    after = [row["after one row"] for row in told if row["after one row"] is not None]
    # One of them compares a compiled run with one that was not.
    assert sorted(abs(off) <= 0.05 for off in after) == [False] + [True] * (len(after) - 1)
    assert max(abs(row["as planned"]) for row in told) <= 1 / 3


def test_the_coefficients_are_the_fit_of_the_published_rows_and_so_are_the_kept_results():
    made = Fit(foundry())
    assert set(FITTED) == set(KINDS)
    for name, mine in [*FITTED.items(), ("shared", SHARED)]:
        again = made.kinds.get(name, made.shared)
        assert [getattr(again, term) for term in TERMS] == pytest.approx([getattr(mine, term) for term in TERMS], 1e-2)
    kept = json.loads((RESULTS / "published_steps.json").read_text())
    assert kept["errors"]["llm-foundry, model left out"] == summary(held_out(foundry(), lambda row: row.name))


def test_arithmetic_is_six_operations_a_weight_and_token_and_eight_where_layers_run_again():
    tokens, weights = 2 * 8192, 7_504_658_432  # All but the input embedding, and norms that are added to no sum.
    assert done().matmul == pytest.approx(6 * weights * tokens, rel=1e-3)
    head = 128_256 * 4096
    assert done(checkpointing=True).matmul == pytest.approx((8 * weights - 2 * head) * tokens, rel=1e-3)
    assert done(adapter=LORA).matmul == pytest.approx((4 * (weights + LORA) + 2 * LORA) * tokens, rel=1e-3)


def test_by_chunks_the_head_is_multiplied_once_more():
    assert LLAMA is not None
    more = done(chunked=True).matmul - done().matmul
    assert more == 2 * 8192 * 2 * LLAMA.vocab_size * LLAMA.hidden_size
    assert done(chunked=True).model_flops == done().model_flops, "what the model needs is the same"


def test_attention_is_causal_and_computed_whole_where_a_mask_hides_the_rest():
    assert done().attention == 3.5 * 2 * 32 * 8192 * 4096 * 2 * 8192
    assert done(whole_mask=True).attention == 2 * done().attention
    assert done(checkpointing=True).attention == 4.5 / 3.5 * done().attention


@pytest.mark.parametrize(("stage", "bytes_each"), [(3, 2 * (2 + 2 + 4)), (2, 2 * 4 + 2), (1, 4 + 2)])
def test_stages_exchange_weights_and_gradients_as_often_as_they_must(stage, bytes_each):
    found = done({"zero_optimization": {"stage": stage}}).exchange
    assert found == pytest.approx(bytes_each * 8_030_261_248 * 7 / 8)


def test_an_adapter_exchanges_frozen_weights_and_no_gradients_of_them():
    assert done(adapter=LORA).exchange == pytest.approx((8 * 8_030_261_248 + 8 * LORA) * 7 / 8)
    assert done(adapter=LORA).update == pytest.approx(28 * LORA / 8)


def test_a_narrow_reduction_halves_gradients():
    narrow = done({**STAGE_3, "communication_data_type": "bf16"}).exchange
    assert narrow / done().exchange == pytest.approx(6 / 8)


def test_what_is_moved_to_the_host_is_done_there():
    away = done({"zero_optimization": {"stage": 3, "offload_optimizer": {"device": "cpu"},
                                       "offload_param": {"device": "cpu"}}})
    assert away.update == 0 and away.host_update == pytest.approx(28 * 8_030_261_248 / 8)
    assert away.host_traffic == pytest.approx((4 * 2 + 2 + 2 * 2 * 2) * 8_030_261_248 / 8)
    kept = done({"zero_optimization": {"stage": 3, "offload_optimizer": {"device": "none"}}})
    assert kept.host_traffic == kept.host_update == 0


def test_a_slow_network_is_felt_between_nodes_and_not_inside_one():
    h100 = GPUS["H100-80"]
    factors, _ = coefficients_of(h100)
    one = geometry_of(STAGE_3, **EIGHT)
    four = geometry_of(STAGE_3, **{**EIGHT, "ranks": 32, "nodes": 4})

    def seconds(how, network=None):
        return step_time(shape(), how, h100, factors, network).seconds

    assert seconds(one, 1e9) == seconds(one)
    assert seconds(four, 12.5e9) > seconds(four) + 5, "100 Gb/s: 128 GB a step, ten seconds of it"
    assert seconds(four, 4e12) == pytest.approx(seconds(four), rel=0.05), "the link inside a node is the limit then"


def test_parts_add_up_and_rates_follow():
    how = geometry_of(STAGE_3, **EIGHT)
    told = step_time(shape(), how, GPUS["H100-80"], FITTED["H100-80"])
    assert told.seconds == pytest.approx(sum(told.parts.values())) and told.tokens_per_gpu * told.seconds == 16384
    assert 0.3 < told.mfu < 0.5


def test_how_far_a_gpu_is_known_is_said():
    assert coefficients_of(GPUS["A100-40"])[1] == "published" and coefficients_of(GPUS["H200-141"])[1] == "related"
    assert coefficients_of(GPUS["L40S-48"]) == (SHARED, "guessed")


def test_one_rank_exchanges_nothing_and_still_starts_kernels():
    alone = Geometry(sequence_length=128, micro_batch=1, micro_batches=1, ranks=1, nodes=1, zero=3)
    found = work(shape(), alone)
    assert found.exchange == 0 and found.launches == 32
    assert len(nominal(found, alone, GPUS["T4-16"])) == len(TERMS)
