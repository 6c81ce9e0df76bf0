"""Low-rank adapters (LoRA, rsLoRA, DoRA) by peft around a model whose base weights stay frozen.

Decides their first values, which depend on the seed and their names alone, what of the base ZeRO-3 has to gather for
them, and which of several compute. What the fields mean is `core.recipe_adapter`; which there are,
`core.stage_adapters`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from launcher.core.adapter_targets import chosen, misfits
from launcher.core.errors import UserError
from launcher.core.recipe_adapter import Adapter
from launcher.core.stage_adapters import DEFAULT
from launcher.core.yaml_tree import dotted
from launcher.runtime.four_bits import quantize
from launcher.runtime.model import keyed_seed
from launcher.runtime.partitions import is_partitioned, read_by, whole_shape


def add_adapter(model: PreTrainedModel, adapter: Adapter, seed: int, names: Sequence[str] = (DEFAULT,)) -> nn.Module:
    """Return the model with adapters of these names. Raises UserError where they do not fit it."""
    if wrong := [f"{dotted(path)}: {message}" for path, message in _misfits(model, adapter)]:
        raise UserError("\n".join(wrong))
    if adapter.base == "4bit":
        quantize(model)
    wrapped = wrap(model, adapter, names)
    _initialise(wrapped, seed)
    return wrapped


def wrap(model: PreTrainedModel, adapter: Adapter, names: Sequence[str] = (DEFAULT,)) -> nn.Module:
    """Return the model with adapters, of which the last is trained; their low-rank matrices have any values."""
    # Imported here: peft takes seconds, and full fine-tunes do not need it.
    from peft import get_peft_model

    targets = adapter.targets if isinstance(adapter.targets, str) else list(adapter.targets)
    if adapter.per_stage:
        # By their whole names: an expression could match what peft puts into a layer with the first adapter, too.
        targets = chosen(adapter, linears(model), _head(model))
    with _norms_of_whole_weights(model):
        # peft would hold adapters in fp32 beside a bf16 base; ZeRO keeps the fp32 masters and wants one type.
        wrapped: Any = get_peft_model(model, _config(adapter, targets, trained=len(names) == 1), adapter_name=names[0],
                                      autocast_adapter_dtype=False)
        for name in names[1:]:
            config = _config(adapter, targets, trained=name == names[-1])
            wrapped.add_adapter(name, config, autocast_adapter_dtype=False)
    if len(names) > 1:
        wrapped.base_model.set_adapter(list(names if adapter.per_stage == "stacked" else names[-1:]))
    _let_lengths_read_weights(wrapped)
    return wrapped


def _config(adapter: Adapter, targets: list[str] | str, *, trained: bool) -> Any:
    """Return peft's configuration of an adapter."""
    from peft import LoraConfig

    # peft divides alpha by the rank; a float is as good as the int its type asks for.
    alpha: Any = adapter.alpha
    # What does not learn any more is not hidden from what learns beside it.
    return LoraConfig(r=adapter.rank, lora_alpha=alpha, lora_dropout=adapter.dropout if trained else 0.0,
                      target_modules=targets, use_rslora=adapter.rslora, use_dora=adapter.kind == "dora", bias="none",
                      task_type="CAUSAL_LM")


def linears(model: nn.Module) -> dict[str, tuple[int, int]]:
    """Return inputs and outputs of each layer that may have an adapter, by its name."""
    found: dict[str, tuple[int, int]] = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            found[name] = (module.in_features, module.out_features)
        elif isinstance(module, Conv1D):
            inputs, outputs = whole_shape(module.weight)
            found[name] = (inputs, outputs)
    return found


def _misfits(model: PreTrainedModel, adapter: Adapter) -> Iterator[tuple[tuple[str | int, ...], str]]:
    return misfits(adapter, linears(model), _head(model), tied=model.config.get_text_config().tie_word_embeddings)


def _head(model: PreTrainedModel) -> str | None:
    """Return the name of the output embedding."""
    head = model.get_output_embeddings()
    return next((name for name, module in model.named_modules() if module is head), None)


@contextmanager
def _norms_of_whole_weights(model: nn.Module) -> Iterator[None]:
    """Let peft gather each weight whose norms it takes: DoRA's lengths begin as these, and slices have others."""
    if not any(is_partitioned(parameter) for parameter in model.parameters()):
        yield
        return
    from transformers.integrations.deepspeed import HfDeepSpeedConfig, unset_hf_deepspeed_config

    # peft asks transformers whether weights are in slices, and that holds this in a weak reference alone.
    told = HfDeepSpeedConfig({"zero_optimization": {"stage": 3}})
    try:
        yield
    finally:
        unset_hf_deepspeed_config()
        del told


def _let_lengths_read_weights(model: nn.Module) -> None:
    """Have the weights of a layer whole while DoRA computes beside it: it reads them outside of their own module."""
    for module in model.modules():
        lengths: Any = getattr(module, "lora_magnitude_vector", {})
        for layer in lengths.values():
            base: Any = module
            weights = [each for each in base.get_base_layer().parameters(recurse=False) if is_partitioned(each)]
            if not weights:
                continue
            read_by(layer, weights)
            # Nothing flows back through this product. ZeRO-3 would count on it and keep the matrices whole until the
            # step's end.
            layer.get_lora_weight = torch.no_grad()(layer.get_lora_weight)


def _initialise(model: nn.Module, seed: int) -> None:
    """Draw A by Kaiming's uniform rule as peft does, B stays zero, so the adapted model begins as the base."""
    for name, parameter in model.named_parameters():
        if "lora_A" in name:
            generator = torch.Generator(device=parameter.device).manual_seed(keyed_seed(seed, name))
            with torch.no_grad():
                nn.init.kaiming_uniform_(parameter, a=5**0.5, generator=generator)
