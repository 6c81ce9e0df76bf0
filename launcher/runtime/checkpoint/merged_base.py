"""The base with the adapters of earlier stages in it, beside which a stage trains its own (`per_stage: merged`).

Made anew whenever an engine begins, from the base's files and the parked master weights: checkpoints hold adapters
alone, and a run goes on with the same bits. Added up in fp32, and rounded once to what computes.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from transformers.pytorch_utils import Conv1D

from launcher.core.recipe_adapter import Adapter
from launcher.runtime.checkpoint.merging import adapted, parts_of
from launcher.runtime.checkpoint.state import EngineState
from launcher.runtime.partitions import gathered, is_partitioned


@torch.no_grad()
def merge_earlier(state: EngineState, module: nn.Module, adapter: Adapter, names: Sequence[str], *,
                  begins: bool) -> None:
    """Add all adapters but the last, in order, into the weights that they are beside. Called by all ranks, with a
    module whose parameters are in slices (under ZeRO-3), after the checkpoint was loaded.

    `begins` says that the last one is new: DoRA's lengths begin as those of the weights as they are now.
    """
    *earlier, own = names
    lengths: dict[str, torch.Tensor] = {}
    for name in _layers(module, own):
        layer: Any = module.get_submodule(name)
        base = layer.get_base_layer()
        with gathered([base.weight], write=True):
            # Outputs first, where it lies; GPT-2's layers keep it the other way round.
            weight = base.weight.data.T if isinstance(base, Conv1D) else base.weight.data
            _merge(state, weight, adapter, [parts_of(name, each, adapter) for each in earlier])
            _make_same(base.weight)
            if begins and adapter.kind == "dora":
                lengths[parts_of(name, own, adapter)[-1]] = weight.float().norm(dim=1)
    # Even of nothing: what else is whole on every rank is gathered again after it.
    state.set_masters(lengths)


def _merge(state: EngineState, weight: torch.Tensor, adapter: Adapter, earlier: Sequence[Sequence[str]]) -> None:
    whole = weight.float()
    for parts in earlier:
        whole = adapted(whole, adapter, state.parked_masters(parts, weight.device))
    weight.copy_(whole)


def _make_same(weight: nn.Parameter) -> None:
    """Ranks on unlike machines may add up otherwise, and would drift apart from there on: all take what rank 0 has."""
    if not is_partitioned(weight) and dist.is_initialized() and dist.get_world_size() > 1:
        dist.broadcast(weight.data.view(torch.uint8), src=0)


def _layers(module: nn.Module, own: str) -> list[str]:
    """Return the names of the layers that have adapters."""
    end = f".lora_A.{own}.weight"
    return [name.removesuffix(end) for name, _ in module.named_parameters() if name.endswith(end)]
