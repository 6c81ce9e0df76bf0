"""Low-rank adapters (LoRA, arXiv 2106.09685) by peft around a model whose base weights stay frozen."""

from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from launcher.core.errors import UserError
from launcher.core.recipe import Adapter
from launcher.runtime.model import keyed_seed


def add_adapter(model: PreTrainedModel, adapter: Adapter, seed: int) -> nn.Module:
    """Return the model with trainable adapters. Their first values depend on the seed and their names alone."""
    wrapped = wrap(model, adapter)
    _initialise(wrapped, seed)
    return wrapped


def wrap(model: PreTrainedModel, adapter: Adapter) -> nn.Module:
    """Return the model with adapters of any values. Raises UserError when the targets name no module."""
    # Imported here: peft takes seconds, and full fine-tunes do not need it.
    from peft import LoraConfig, get_peft_model

    targets = adapter.targets if isinstance(adapter.targets, str) else list(adapter.targets)
    # peft divides alpha by the rank; a float is as good as the int its type asks for.
    alpha: Any = adapter.alpha
    config = LoraConfig(r=adapter.rank, lora_alpha=alpha, lora_dropout=adapter.dropout, target_modules=targets,
                        task_type="CAUSAL_LM")
    try:
        # peft would hold adapters in fp32 beside a bf16 base; ZeRO keeps the fp32 masters and wants one type.
        return get_peft_model(model, config, autocast_adapter_dtype=False)
    except ValueError as error:
        raise UserError(f"adapter.targets: {error}") from None


def _initialise(model: nn.Module, seed: int) -> None:
    """Draw A by Kaiming's uniform rule as peft does, B stays zero, so the adapted model begins as the base."""
    for name, parameter in model.named_parameters():
        if "lora_A" in name:
            generator = torch.Generator(device=parameter.device).manual_seed(keyed_seed(seed, name))
            with torch.no_grad():
                nn.init.kaiming_uniform_(parameter, a=5**0.5, generator=generator)
