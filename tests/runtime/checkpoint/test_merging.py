"""Adapters are merged as peft merges them, into layers that keep their weights the other way round too."""

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from launcher.core.recipe import ModelChoice
from launcher.core.recipe_adapter import Adapter
from launcher.runtime.adapter import add_adapter, linears
from launcher.runtime.checkpoint.merged_base import merge_earlier
from launcher.runtime.checkpoint.merging import Merged

SHAPES = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 32, "vocab_size": 64}


class InMemory:
    """Stands for the reader of a checkpoint."""

    def __init__(self, model: torch.nn.Module) -> None:
        self._held = {name: each.detach() for name, each in model.named_parameters() if ".lora_" in name}
        self.manifest = SimpleNamespace(shapes={name: tuple(each.shape) for name, each in self._held.items()})

    def read(self, name: str) -> torch.Tensor:
        return self._held[name]


@pytest.mark.slow
@pytest.mark.parametrize("adapter", [Adapter(rank=3, alpha=6, rslora=True), Adapter(kind="dora", rank=3, alpha=6)],
                         ids=lambda adapter: adapter.title)
def test_gpt2_keeps_weights_transposed_and_is_merged_as_peft_does(adapter: Adapter, tmp_path: Path) -> None:
    torch.manual_seed(1)
    AutoModelForCausalLM.from_config(AutoConfig.for_model("gpt2", **SHAPES)).save_pretrained(tmp_path)
    wrapped: Any = add_adapter(AutoModelForCausalLM.from_pretrained(tmp_path), adapter, 0)
    with torch.no_grad():
        for parameter in wrapped.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    plain = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert linears(plain)["transformer.h.0.attn.c_attn"] == (32, 96)
    plan: Any = SimpleNamespace(adapter=adapter, model=ModelChoice(path=str(tmp_path), precision="fp32"))
    reader: Any = InMemory(wrapped)
    merged = Merged(plan, plain, reader)
    expected = wrapped.merge_and_unload().state_dict()
    for name, shape in merged.shapes.items():
        found = merged.read(name)
        assert tuple(found.shape) == shape
        torch.testing.assert_close(found, expected[name], rtol=1e-5, atol=1e-6)


class Engine:
    """Stands for the state of an engine."""

    def __init__(self, model: torch.nn.Module) -> None:
        self._parameters = dict(model.named_parameters())

    def parked_masters(self, names: list[str], device: torch.device) -> list[torch.Tensor]:
        return [self._parameters[name].detach() for name in names]

    def set_masters(self, values: Mapping[str, torch.Tensor]) -> None:
        for name, value in values.items():
            self._parameters[name].copy_(value)


def changed(model: Any, by: float = 0.1) -> Any:
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora_" in name:
                parameter.add_(by * torch.randn_like(parameter))
    return model


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    return model.eval()(input_ids=torch.arange(4, 24)[None]).logits


NAMES = ("stage0", "stage1", "stage2")


@pytest.mark.slow
@pytest.mark.parametrize("adapter", [
    Adapter(rank=3, alpha=6, dropout=0.5, per_stage="stacked", targets=r".*\.c_(attn|proj)"),
    Adapter(rank=3, alpha=6, per_stage="merged"), Adapter(kind="dora", rank=3, alpha=6, per_stage="merged")],
    ids=lambda adapter: adapter.title)
def test_adapters_of_several_stages_are_what_plain_peft_makes_of_them(adapter: Adapter, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(1)
    AutoModelForCausalLM.from_config(AutoConfig.for_model("gpt2", **SHAPES)).save_pretrained(tmp_path)
    base = AutoModelForCausalLM.from_pretrained(tmp_path)
    options: Any = {"r": 3, "lora_alpha": 6, "use_dora": adapter.kind == "dora", "target_modules": (
        ["c_attn", "c_proj"] if adapter.per_stage == "stacked" else "all-linear")}
    model: Any = changed(add_adapter(AutoModelForCausalLM.from_pretrained(tmp_path), adapter, 0, NAMES))
    values = dict(model.named_parameters())
    trained = {name for name, each in values.items() if ".lora_" in name}
    assert len(trained) == 3 * len([name for name in trained if "stage2" in name])
    engine: Any = Engine(model)
    if adapter.per_stage == "merged":
        merge_earlier(engine, model, adapter, NAMES, begins=False)
        plain: Any = base
        for name in NAMES:
            plain = get_peft_model(plain, LoraConfig(**options), adapter_name=name)
            take(plain, values)
            plain = plain if name == NAMES[-1] else plain.merge_and_unload()
    else:
        plain = get_peft_model(base, LoraConfig(**options), adapter_name=NAMES[0])
        for name in NAMES[1:]:
            plain.add_adapter(name, LoraConfig(**options))
        take(plain, values)
        plain.base_model.set_adapter(list(NAMES))
        # What does not learn any more is not dropped out.
        assert torch.nn.Dropout in {type(each) for name, each in model.named_modules() if name.endswith("stage2")}
        assert torch.nn.Dropout not in {type(each) for name, each in model.named_modules() if name.endswith("stage1")}
    expected = logits(plain)
    torch.testing.assert_close(logits(model), expected, rtol=1e-5, atol=1e-5)
    plan: Any = SimpleNamespace(adapter=adapter, model=ModelChoice(path=str(tmp_path), precision="fp32"))
    reader: Any = InMemory(model)
    found = AutoModelForCausalLM.from_pretrained(tmp_path)
    merged = Merged(plan, found, reader)
    found.load_state_dict({name: merged.read(name) for name in merged.shapes}, strict=False)
    torch.testing.assert_close(logits(found), expected, rtol=1e-5, atol=1e-5)
    if adapter.kind == "dora":
        again: Any = changed(add_adapter(AutoModelForCausalLM.from_pretrained(tmp_path), adapter, 0, NAMES))
        lengths = {name: each.clone() for name, each in again.named_parameters() if "vector.stage2" in name}
        merge_earlier(Engine(again), again, adapter, NAMES, begins=True)  # pyright: ignore[reportArgumentType]
        for name, each in again.named_parameters():
            if name in lengths:
                layer = again.get_submodule(name.rsplit(".", 3)[0]).get_base_layer()
                torch.testing.assert_close(each, layer.weight.T.norm(dim=1))
                assert not torch.allclose(each, lengths[name])


@torch.no_grad()
def take(model: torch.nn.Module, values: Mapping[str, torch.Tensor]) -> None:
    """Give a plain model's adapters values."""
    for name, parameter in model.named_parameters():
        if ".lora_" in name:
            parameter.copy_(values[name])
