"""The trained model as a Hugging Face directory, gathered tensor by tensor so that no rank holds it whole.

Rank 0 writes shards of bounded size into the run's store; config.json comes last, and makes the directory complete.
"""

import json
from collections.abc import Iterator
from math import prod
from typing import Any

import torch
from safetensors.torch import save
from torch import nn
from transformers import PreTrainedModel

from launcher.core.run_plan import RunPlan
from launcher.runtime.model import DTYPES
from launcher.runtime.partitions import gathered, whole_shape
from launcher.storage.store import Store

SHARD_BYTES = 2 * 10**9
"""Rank 0 holds about two shards at once while writing."""

Names = list[tuple[str, str]]
"""Pairs of a parameter's name in the module and in the file."""


def export_model(module: nn.Module, plan: RunPlan, run: Store, cache: Store, rank: int) -> dict[str, Any]:
    """Write `model/` of the run. Called by all ranks; returns bytes and parameters written (0 on other ranks)."""
    names = _adapter_names(module) if plan.adapter else [(name, name) for name, _ in module.named_parameters()]
    shards = _shards(module, names, DTYPES[plan.export_dtype].itemsize)
    stem = "adapter_model" if plan.adapter else "model"
    sizes, weight_map = 0, {}
    for number, shard in enumerate(shards, 1):
        tensors = _gather(module, shard, DTYPES[plan.export_dtype], rank)
        name = _shard_name(stem, number, len(shards))
        weight_map |= dict.fromkeys((stored for _, stored in shard), name)
        if rank == 0:
            data = save(tensors, metadata={"format": "pt"})
            sizes += len(data)
            run.put(f"model/{name}", data)
    if rank == 0:
        _write_texts(module, plan, run, cache, weight_map if len(shards) > 1 else None, sizes, stem)
    parameters = sum(_elements(module, shard) for shard in shards)
    return {"path": "model", "bytes": sizes, "parameters": parameters}


def _shard_name(stem: str, number: int, count: int) -> str:
    return f"{stem}.safetensors" if count == 1 else f"{stem}-{number:05d}-of-{count:05d}.safetensors"


def _elements(module: nn.Module, shard: Names) -> int:
    return sum(prod(whole_shape(module.get_parameter(name))) for name, _ in shard)


def _shards(module: nn.Module, names: Names, item_bytes: int) -> list[Names]:
    """Cut the parameters, in order, into shards of at most SHARD_BYTES; a larger tensor is a shard of its own."""
    shards: list[Names] = [[]]
    filled = 0
    for pair in names:
        size = prod(whole_shape(module.get_parameter(pair[0]))) * item_bytes
        if shards[-1] and filled + size > SHARD_BYTES:
            shards.append([])
            filled = 0
        shards[-1].append(pair)
        filled += size
    return shards


def _gather(module: nn.Module, shard: Names, dtype: torch.dtype, rank: int) -> dict[str, torch.Tensor]:
    tensors = {}
    for name, stored in shard:
        parameter = module.get_parameter(name)
        with gathered([parameter]):
            if rank == 0:
                tensors[stored] = parameter.detach().to("cpu", dtype, copy=True).contiguous()
    return tensors


def _adapter_names(module: nn.Module) -> Names:
    """Return the adapters under the names of peft's own format, which leaves the adapter's name out."""
    return [(name, name.replace(".default.", ".")) for name, parameter in module.named_parameters()
            if parameter.requires_grad]


def _write_texts(module: nn.Module, plan: RunPlan, run: Store, cache: Store, weight_map: dict[str, str] | None,
                 size: int, stem: str) -> None:
    if weight_map is not None:
        index = {"metadata": {"total_size": size}, "weight_map": weight_map}
        run.put(f"model/{stem}.safetensors.index.json", json.dumps(index, indent=1).encode())
    for key, data in _tokenizer_files(plan, cache):
        run.put(f"model/{key}", data)
    for key, text in _configs(module, plan).items():
        run.put(f"model/{key}", text.encode())


def _tokenizer_files(plan: RunPlan, cache: Store) -> Iterator[tuple[str, bytes]]:
    assert plan.tokenizer is not None
    prefix = f"tokenizer/{plan.tokenizer.fingerprint}/"
    for key in cache.list(prefix):
        if key != prefix + "facts.json":
            yield key.removeprefix(prefix), cache.get(key)


def _configs(module: nn.Module, plan: RunPlan) -> dict[str, str]:
    """Return the JSON files that say what the weights are, config.json last."""
    if plan.adapter:
        adapted: Any = module  # peft's own class, not imported for a type
        config = adapted.peft_config["default"].to_dict()
        config |= {"base_model_name_or_path": plan.model.path, "inference_mode": True}
        return {"adapter_config.json": json.dumps(config, indent=1, default=_plain, sort_keys=True)}
    assert isinstance(module, PreTrainedModel)
    module.config.architectures = [type(module).__name__]
    module.config.dtype = DTYPES[plan.export_dtype]
    files = {}
    if module.generation_config is not None:
        files["generation_config.json"] = module.generation_config.to_json_string(use_diff=True)
    return files | {"config.json": module.config.to_json_string(use_diff=True)}


def _plain(value: Any) -> Any:
    """Return what JSON can hold of peft's sets and enums."""
    return sorted(value) if isinstance(value, set | frozenset) else str(value)
