"""A base in 4 bits (QLoRA, arXiv 2305.14314) by bitsandbytes: NF4, its scales quantized once more.

Decides which layers are kept so: linear ones but the output embedding. What a layer computes with afterwards is the
nearest values in 4 bits (`rounded`), so these are what adapters are trained beside, and what they are merged into.
"""

from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from launcher.core.adapter_checks import NO_BITSANDBYTES
from launcher.core.errors import UserError


def quantize(model: PreTrainedModel) -> None:
    """Put 4-bit layers in the place of a model's frozen linear layers. Raises UserError without bitsandbytes."""
    bitsandbytes = _bitsandbytes()
    names = quantized_names(model)
    for name in names:
        parent, _, last = name.rpartition(".")
        layer: Any = model.get_submodule(name)
        setattr(model.get_submodule(parent), last, _in_four_bits(layer, bitsandbytes))
    # peft asks for this before it looks at the layers.
    setattr(model, "is_loaded_in_4bit", True)  # noqa: B010  (a name that transformers' types do not know)


def quantized_names(model: PreTrainedModel) -> list[str]:
    """Return the names of the layers that are kept in 4 bits."""
    head = model.get_output_embeddings()
    return [name for name, module in model.named_modules() if isinstance(module, nn.Linear) and module is not head]


def rounded(weight: torch.Tensor) -> torch.Tensor:
    """Return the values that a weight has once it is in 4 bits."""
    functional = _bitsandbytes().functional
    kept, state = functional.quantize_4bit(weight, quant_type="nf4", compress_statistics=True)
    return functional.dequantize_4bit(kept, state)


def _in_four_bits(layer: nn.Linear, bitsandbytes: Any) -> nn.Module:
    weight = layer.weight
    made = bitsandbytes.nn.Linear4bit(layer.in_features, layer.out_features, bias=layer.bias is not None,
                                      compute_dtype=weight.dtype, compress_statistics=True, quant_type="nf4",
                                      device="meta")
    made.weight = bitsandbytes.nn.Params4bit(weight.data, requires_grad=False, compress_statistics=True,
                                             quant_type="nf4", module=made).to(weight.device)
    made.bias = layer.bias
    # On a CPU it would lay weights out for inference at the first evaluation, and training could not read them again.
    made.support_avx512bf16_for_cpu = False
    return made


def _bitsandbytes() -> Any:
    try:
        import bitsandbytes  # pyright: ignore[reportMissingImports]  (an extra)
    except ImportError:
        raise UserError(NO_BITSANDBYTES) from None
    return bitsandbytes
