"""The border test: do documents packed into one row see each other?

Run at each start on a two-layer model of the same class, attention and precision. Whether isolation holds depends on
the attention kernel, the transformers version and the cache setting; a leak changes the loss a little and is never
noticed, so what leaks is refused (DESIGN 8; axolotl#3796 is the same fault elsewhere).
"""

import copy

import torch
from transformers import AutoModelForCausalLM, PretrainedConfig

from launcher.core.errors import UserError

LENGTH = 12
"""Tokens of each of the two documents."""


def small_config(config: PretrainedConfig) -> PretrainedConfig:
    """Return the configuration of a model of the same make with two layers and a small vocabulary."""
    small = copy.deepcopy(config)
    text = small.get_text_config()
    text.num_hidden_layers = 2
    text.vocab_size = 64
    for name, value in (("bos_token_id", 0), ("eos_token_id", 0), ("pad_token_id", None), ("intermediate_size", 64)):
        if hasattr(text, name):
            setattr(text, name, value)
    if getattr(text, "layer_types", None):
        text.layer_types = _two_kinds(text.layer_types)
    return small


def _two_kinds(layer_types: list[str]) -> list[str]:
    """Return two layers that cover two kinds where the model has two."""
    kinds = list(dict.fromkeys(layer_types))
    return [kinds[0], kinds[1] if len(kinds) > 1 else kinds[0]]


def leak(config: PretrainedConfig, attention: str, dtype: torch.dtype, device: torch.device) -> float:
    """Return by how much the second document's logits move when the first document changes; 0 is isolation."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), device, torch.no_grad():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(small_config(config), dtype=dtype, attn_implementation=attention)
        # Training mode is what the run uses; dropout off, or noise would look like a leak.
        model.train()
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
            if isinstance(getattr(module, "attention_dropout", None), float):
                module.__dict__["attention_dropout"] = 0.0
        positions = torch.arange(LENGTH).repeat(2)[None]
        first = torch.randint(1, 64, (1, 2 * LENGTH))
        second = first.clone()
        second[:, :LENGTH] = (first[:, :LENGTH] + 7) % 63 + 1
        logits = [model(input_ids=ids, position_ids=positions, use_cache=False).logits for ids in (first, second)]
        return float((logits[0] - logits[1])[:, LENGTH:].abs().max())


def check_borders(config: PretrainedConfig, attention: str, dtype: torch.dtype, device: torch.device) -> None:
    """Raise UserError if packed documents see each other."""
    moved = leak(config, attention, dtype, device)
    if moved != 0.0:
        raise UserError(f"model.attention: {attention} lets packed documents of a {config.model_type} model see each "
                        f"other (logits move by {moved:.2g}); choose another attention, or packing: one_per_row for "
                        "every source")
