"""The trained model as a Hugging Face directory, gathered tensor by tensor so that no rank holds it whole.

Rank 0 writes shards of bounded size into the run's store; config.json comes last, and makes the directory complete.
Where each stage has an adapter, each of these has a folder, and adapters.json comes last.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from math import prod
from typing import Any

import torch
from safetensors.torch import save
from torch import nn
from transformers import PreTrainedModel

from launcher.core.run_plan import RunPlan
from launcher.core.source_index import TokenizerFacts
from launcher.core.stage_adapters import TABLE, folder_of, names_of, table
from launcher.core.trainable import ADAPTER, adapter_of
from launcher.runtime.model import DTYPES
from launcher.runtime.partitions import gathered, whole_shape
from launcher.runtime.safetensors_stream import shards
from launcher.storage.store import Store

SHARD_BYTES = 2 * 10**9
"""Rank 0 holds about two shards at once while writing."""

LENGTHS = "lora_magnitude_vector"
"""DoRA's learnt lengths, as peft calls them."""
Names = dict[str, str]
"""Of each tensor in a file: its parameter's name in the module."""
Written = tuple[dict[str, str] | None, int]
"""Of a folder: which tensor is in which file, None for a single one; and bytes."""


def export_model(module: nn.Module, plan: RunPlan, run: Store, cache: Store, rank: int,
                 progress: Callable[[], None]) -> dict[str, Any]:
    """Write `model/` of the run. Called by all ranks; returns bytes and parameters written (0 on other ranks).

    Calls `progress` after each file.
    """
    folders = by_folder(plan, (name for name, _ in module.named_parameters()))
    written = {folder: _write(module, names, plan, f"model/{folder}", run, rank, progress)
               for folder, names in folders.items()}
    if rank == 0:
        for name, text in texts(module, plan, cache, written):
            run.put(f"model/{name}", text)
    count = sum(prod(whole_shape(module.get_parameter(name))) for names in folders.values() for name in names.values())
    return {"path": "model", "bytes": sum(size for _, size in written.values()), "parameters": count}


def _write(module: nn.Module, names: Names, plan: RunPlan, prefix: str, run: Store, rank: int,
           progress: Callable[[], None]) -> Written:
    """Write the weights of a folder. Called by all ranks."""
    dtype = DTYPES[plan.export_dtype]
    shapes = {stored: whole_shape(module.get_parameter(name)) for stored, name in names.items()}
    files = shards(shapes, dtype.itemsize, SHARD_BYTES)
    size, weight_map = 0, dict[str, str]()
    for number, stored in enumerate(files, 1):
        tensors = _gather(module, {each: names[each] for each in stored}, dtype, rank)
        name = shard_name(stem_of(plan), number, len(files))
        weight_map |= dict.fromkeys(stored, name)
        if rank == 0:
            data = save(tensors, metadata={"format": "pt"})
            size += len(data)
            run.put(f"{prefix}{name}", data)
        progress()
    return weight_map if len(files) > 1 else None, size


def stem_of(plan: RunPlan) -> str:
    """Return how the files of weights are called."""
    return "adapter_model" if plan.adapter else "model"


def shard_name(stem: str, number: int, count: int) -> str:
    """Return a file's name, as transformers looks for it."""
    return f"{stem}.safetensors" if count == 1 else f"{stem}-{number:05d}-of-{count:05d}.safetensors"


def _gather(module: nn.Module, shard: Names, dtype: torch.dtype, rank: int) -> dict[str, torch.Tensor]:
    tensors = {}
    for stored, name in shard.items():
        parameter = module.get_parameter(name)
        with gathered([parameter]):
            if rank == 0:
                tensors[stored] = parameter.detach().to("cpu", dtype, copy=True).contiguous()
    return tensors


def by_folder(plan: RunPlan, parameters: Iterable[str]) -> dict[str, Names]:
    """Return what is written into each folder: everything, or each adapter in peft's own format."""
    every = list(parameters)
    if plan.adapter is None:
        return {"": {name: name for name in every}}
    return {folder_of(plan, each): {adapter_name(name): name for name in every
                                    if ADAPTER in name and adapter_of(name) == each} for each in names_of(every)}


def adapter_name(name: str) -> str:
    """Return an adapter parameter's name in files of peft's format: DoRA's lengths stand there without a last part."""
    return name.replace(f".{adapter_of(name)}.weight", ".weight").replace(f".{LENGTHS}.weight", f".{LENGTHS}")


def texts(module: nn.Module, plan: RunPlan, cache: Store,
          written: Mapping[str, Written]) -> Iterator[tuple[str, bytes]]:
    """Yield the files beside the weights of all folders, the one that makes the directory complete last."""
    for folder, (weight_map, size) in written.items():
        if weight_map is not None:
            index = {"metadata": {"total_size": size}, "weight_map": weight_map}
            yield f"{folder}{stem_of(plan)}.safetensors.index.json", json.dumps(index, indent=1).encode()
    yield from _tokenizer_files(plan, cache)
    for folder in written:
        for key, text in _configs(module, plan).items():
            yield f"{folder}{key}", text.encode()
    if "" not in written:
        yield TABLE, table(plan, written).encode()


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
        # The last is the one that was trained: it has the recipe's dropout.
        config = list(adapted.peft_config.values())[-1].to_dict()
        config |= {"base_model_name_or_path": plan.model.path, "inference_mode": True}
        return {"adapter_config.json": json.dumps(config, indent=1, default=_plain, sort_keys=True)}
    assert isinstance(module, PreTrainedModel)
    module.config.architectures = [type(module).__name__]
    module.config.dtype = DTYPES[plan.export_dtype]
    files = {}
    if module.generation_config is not None:
        module.generation_config.eos_token_id = stops(module.generation_config.eos_token_id, plan.tokenizer)
        files["generation_config.json"] = module.generation_config.to_json_string(use_diff=True)
    return files | {"config.json": module.config.to_json_string(use_diff=True)}


def stops(known: int | list[int] | None, tokenizer: TokenizerFacts | None) -> int | list[int] | None:
    """Return at which tokens generation stops: those it knows, and the one that was learnt to end a turn."""
    tokens = [] if known is None else [known] if isinstance(known, int) else list(known)
    if tokenizer is not None and tokenizer.turn_end is not None and tokenizer.turn_end not in tokens:
        tokens.append(tokenizer.turn_end)
    return tokens[0] if len(tokens) == 1 else tokens or None


def _plain(value: Any) -> Any:
    """Return what JSON can hold of peft's sets and enums."""
    return sorted(value) if isinstance(value, set | frozenset) else str(value)
