"""The loss by chunks is the loss: token by token, its gradients, on any number of ranks, and where it cannot be."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.profiler import ProfilerActivity, profile
from transformers import AutoConfig, AutoModelForCausalLM

from launcher.core.errors import UserError
from launcher.core.recipe import ModelChoice
from launcher.core.recipe_adapter import Adapter
from launcher.core.recipe_speed import Speed
from launcher.core.run_plan import RunPlan
from launcher.runtime.adapter import add_adapter
from launcher.runtime.batches import IGNORED
from launcher.runtime.chunked_loss import HeadLosses, check_head
from launcher.runtime.engine import base_model
from launcher.runtime.losses import right_tokens, token_losses
from launcher.storage.store import LocalStore
from tests.runtime.plain_workers import Result, attempt_plan, plain_workers
from tests.runtime.test_arithmetic import Case, both_ways, weight_error, worst
from tests.runtime.tiny import make_plan, with_adapter, write_model, write_source, zero_config

CPU = torch.device("cpu")
SMALL: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
                         "num_key_value_heads": 1, "head_dim": 8, "vocab_size": 90}
ROWS, LENGTH = 3, 17
CHUNKED = Speed(chunked_cross_entropy=True)


def model_of(architecture: str = "llama", dtype: torch.dtype = torch.float32, **fields: Any) -> Any:
    torch.manual_seed(3)
    config = AutoConfig.for_model(architecture, **{**SMALL, **fields})
    return AutoModelForCausalLM.from_config(config, dtype=dtype).train()


def given() -> tuple[dict[str, Any], torch.Tensor]:
    torch.manual_seed(5)
    labels = torch.randint(0, SMALL["vocab_size"], (ROWS, LENGTH))
    labels[:, ::4] = IGNORED
    return {"input_ids": torch.randint(0, SMALL["vocab_size"], (ROWS, LENGTH)), "use_cache": False}, labels


def gradients(model: Any, losses: torch.Tensor) -> dict[str, torch.Tensor]:
    # What each token's loss is worth differs, as where several sources or steps share a pass.
    (losses * torch.linspace(0.2, 1.3, losses.numel()).view(losses.shape)).sum().backward()
    found = {name: each.grad.clone() for name, each in model.named_parameters() if each.grad is not None}
    model.zero_grad()
    return found


@pytest.mark.parametrize("tied", [False, True], ids=["own head", "tied head"])
def test_each_token_s_loss_and_all_gradients_are_those_of_whole_logits(tied: bool) -> None:
    model, (inputs, labels) = model_of(tie_word_embeddings=tied), given()
    whole = token_losses(model(**inputs).logits, labels)
    expected = gradients(model, whole)
    head = HeadLosses(model)
    with head.instead(labels):
        chunked = model(**inputs).logits
    assert chunked.shape == labels.shape and (chunked[labels == IGNORED] == 0).all()
    torch.testing.assert_close(chunked, whole, rtol=1e-5, atol=1e-6)
    found = gradients(model, chunked)
    assert found.keys() == expected.keys()
    assert max(float((found[name] - expected[name]).norm() / expected[name].norm()) for name in found) < 1e-5


def test_an_evaluation_has_the_losses_and_the_right_tokens_of_whole_logits() -> None:
    model, (inputs, labels) = model_of(), given()
    logits = model(**inputs).logits
    labels[0, 1] = logits[0, 1].argmax()
    head = HeadLosses(model)
    with torch.no_grad(), head.instead(labels):
        losses, right = model(**inputs).logits.unbind(-1)
    torch.testing.assert_close(losses, token_losses(logits, labels), rtol=1e-5, atol=1e-6)
    assert torch.equal(right, right_tokens(logits, labels)) and right.sum() >= 1


def test_elsewhere_the_model_has_its_logits() -> None:
    model, (inputs, labels) = model_of(), given()
    logits, head = model(**inputs).logits, HeadLosses(model)
    with head.instead(labels):
        model(**inputs)
    assert torch.equal(model(**inputs).logits, logits)


def test_an_adapter_beside_other_layers_changes_nothing_of_it_and_one_on_the_head_is_refused() -> None:
    inputs, labels = given()
    adapted: Any = add_adapter(model_of(), Adapter(rank=2), 0)
    whole = gradients(adapted, token_losses(adapted(**inputs).logits, labels))
    with HeadLosses(base_model(adapted)).instead(labels):
        found = gradients(adapted, adapted(**inputs).logits)
    assert found.keys() == whole.keys() and all("lora" in name for name in found)
    assert all(torch.allclose(found[name], whole[name], rtol=1e-5, atol=1e-7) for name in found)
    on_head: Any = add_adapter(model_of(), Adapter(rank=2, targets=("q_proj", "lm_head")), 0)
    with pytest.raises(UserError, match=r"chunked_cross_entropy: .* no adapter beside them"):
        HeadLosses(base_model(on_head))


@pytest.mark.parametrize(("architecture", "dtype"), [
    ("llama", torch.float32), ("llama", torch.bfloat16), ("qwen3", torch.bfloat16), ("granite", torch.float32)])
def test_a_model_whose_head_is_the_last_thing_is_taken(architecture: str, dtype: torch.dtype) -> None:
    check_head(AutoConfig.for_model(architecture, **SMALL), "sdpa", dtype, CPU)


@pytest.mark.parametrize(("architecture", "fields", "dtype"), [
    ("gemma2", {}, torch.bfloat16), ("gemma3_text", {"final_logit_softcapping": 50.0}, torch.bfloat16),
    ("granite", {"logits_scaling": 8.0}, torch.float32), ("cohere", {"logit_scale": 0.0625}, torch.float32)])
def test_a_model_that_computes_with_logits_afterwards_is_refused(architecture: str, fields: dict[str, float],
                                                                dtype: torch.dtype) -> None:
    sizes = {name: value for name, value in SMALL.items() if architecture != "cohere" or name != "head_dim"}
    with pytest.raises(UserError, match=f"a {architecture} model computes with logits between its head and the loss"):
        check_head(AutoConfig.for_model(architecture, **sizes, **fields), "eager", dtype, CPU)


def largest_allocation(run: Any) -> int:
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        run()
    results = seen.profiler
    assert results is not None and results.kineto_results is not None
    return max(event.nbytes() for event in results.kineto_results.events() if event.name() == "[memory]")


@pytest.mark.parametrize("train", [True, False], ids=["training", "evaluation"])
def test_logits_of_all_tokens_are_never_in_memory(train: bool) -> None:
    words = 3000
    model, (inputs, labels) = model_of(vocab_size=words), given()
    whole, head = 4 * words * ROWS * LENGTH, HeadLosses(model)

    def run() -> None:
        with torch.set_grad_enabled(train), head.instead(labels):
            losses = model(**inputs).logits
        if train:
            losses.sum().backward()

    weights = 4 * words * SMALL["hidden_size"]  # Its gradient is as large.
    assert largest_allocation(run) <= weights < whole / 3


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_ranks_under_zero_3_train_as_plain_pytorch_does(tmp_path: Path) -> None:
    as_plain_pytorch(Case(2, 2, tied=True, checkpointing=True, speed=CHUNKED), tmp_path)


@pytest.mark.campaign
@pytest.mark.timeout(300)
@pytest.mark.parametrize("case", [
    Case(2, 2, speed=CHUNKED), Case(2, 2, stage=2, speed=CHUNKED), Case(2, 2, stage=2, tied=True, speed=CHUNKED),
    Case(1, 8, speed=CHUNKED), Case(1, 8, stage=2, checkpointing=True, speed=CHUNKED),
    Case(3, 1, rows_per_step=7, stage=1, packed=False, speed=CHUNKED)], ids=str)
def test_agrees_with_plain_pytorch(case: Case, tmp_path: Path) -> None:
    as_plain_pytorch(case, tmp_path)


def as_plain_pytorch(case: Case, folder: Path) -> None:
    plain, result, weights = both_ways(case, folder)
    steps = result.of("step")
    errors = (worst([step["loss"] for step in steps], plain.losses),
              worst([step["grad_norm"] for step in steps], plain.norms), weight_error(weights, plain.weights))
    print(f"{case}: largest relative differences of loss, norm, weights: {errors}")
    assert len(steps) == 32 and max(errors) <= 1e-5


def told(plan: RunPlan, folder: Path, cache: LocalStore, stage: int, workers: int, micro_batch: int) -> Result:
    with plain_workers(folder / "mail", workers) as gang:
        gang.order(folder / "run", cache.url, plan,
                   attempt_plan(plan, workers, zero_config(stage, workers, micro_batch), micro_batch))
        result = gang.finish()
    assert result.exit_codes == [0] * workers, result.failures()
    return result


@pytest.mark.campaign
@pytest.mark.timeout(300)
@pytest.mark.parametrize("adapter", [None, Adapter(rank=2)], ids=["all weights", "adapter"])
@pytest.mark.parametrize(("stage", "workers"), [(3, 2), (2, 2), (3, 1)])
def test_losses_by_source_and_evaluations_are_those_of_whole_logits(stage: int, workers: int, adapter: Adapter | None,
                                                                    tmp_path: Path) -> None:
    cache = LocalStore(tmp_path / "cache")
    indexes = [write_source(cache, name, 60, seed) for seed, name in enumerate(("sums", "words"))]
    base, results = write_model(tmp_path / "base"), []
    for speed in (Speed(), CHUNKED):
        model = ModelChoice(path=str(base), precision="fp32", speed=speed)
        plan = make_plan(indexes, model, rows_per_step=6, stage_rows=[32], evaluate_every=3)
        plan = plan if adapter is None else with_adapter(plan, adapter)
        results.append(told(plan, tmp_path / str(len(results)), cache, stage, workers, 2))
    whole, chunked = results
    assert by_source(whole, "step") == pytest.approx(by_source(chunked, "step"), rel=1e-5)
    measured = by_source(whole, "evaluation")
    assert len(measured) >= 6 and measured == pytest.approx(by_source(chunked, "evaluation"), rel=1e-5)
    right = [[each["accuracy"] for event in result.of("evaluation") for each in event["sources"].values()]
             for result in results]
    assert right[0] == right[1]


def by_source(result: Result, event: str) -> list[float]:
    return [each["loss"] for one in result.of(event) for each in one["sources"].values()]
