"""A model directory from a committed checkpoint, tensor by tensor: no accelerator, no engine, little memory.

Writes full weights, adapters in peft's format, or adapters merged into their base, as `runtime.checkpoint.merging`
does. That the result is right is shown by `runtime.checkpoint.proving`, in a process of its own.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from launcher.core.errors import PlatformError
from launcher.core.lineage import needs_base
from launcher.core.run_plan import RunPlan
from launcher.core.stage_adapters import names_of
from launcher.data.model_files import base_fingerprint
from launcher.runtime.adapter import wrap
from launcher.runtime.checkpoint.base_tensors import BaseTensors
from launcher.runtime.checkpoint.merging import Merged
from launcher.runtime.checkpoint.weight_reader import WeightReader
from launcher.runtime.export import SHARD_BYTES, Names, Written, by_folder, shard_name, stem_of, texts
from launcher.runtime.model import DTYPES, model_config
from launcher.runtime.safetensors_stream import shards, stream
from launcher.storage.store import Store

Read = Callable[[str], torch.Tensor]
Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written."""

    parameters: int
    bytes: int
    tensors: int


def export_checkpoint(plan: RunPlan, reader: WeightReader, cache: Store, out: Store, *, merge: bool) -> Exported:
    """Write a checkpoint's model into `out`. Raises Damaged, or PlatformError where it is not the plan's model."""
    module = _empty(plan)
    _require_same_shapes(plan, module, reader.manifest.shapes)
    if not plan.adapter:
        whole = _Whole(plan, module, reader)
        return _write(plan, module, _all(whole.shapes), whole.shapes, whole.read, cache, out)
    if merge:
        merged = Merged(plan, module, reader)
        alone = plan.model_copy(update={"adapter": None})
        return _write(alone, module, _all(merged.shapes), merged.shapes, merged.read, cache, out)
    shapes = reader.manifest.shapes
    with torch.device("meta"):
        wrapped = wrap(module, plan.adapter, names_of(shapes)[-1:])
    return _write(plan, wrapped, by_folder(plan, shapes), shapes, reader.read, cache, out)


def _all(shapes: Shapes) -> dict[str, Names]:
    return {"": {name: name for name in shapes}}


def _write(plan: RunPlan, module: torch.nn.Module, folders: Mapping[str, Names], shapes: Shapes, read: Read,
           cache: Store, out: Store) -> Exported:
    """Write tensors, whose names in files and in the model each folder has, and what goes beside them."""
    dtype = DTYPES[plan.export_dtype]
    written: dict[str, Written] = {}
    for folder, names in folders.items():
        stored = {short: shapes[name] for short, name in names.items()}
        files = shards(stored, dtype.itemsize, SHARD_BYTES)
        weight_map: dict[str, str] = {}
        for number, held in enumerate(files, 1):
            file = shard_name(stem_of(plan), number, len(files))
            out.put(f"{folder}{file}", stream(held, stored, dtype, _by(names, read)))
            weight_map |= dict.fromkeys(held, file)
        written[folder] = (weight_map if len(files) > 1 else None, dtype.itemsize * sum(map(prod, stored.values())))
    for name, text in texts(module, plan, cache, written):
        out.put(name, text)
    size = sum(size for _, size in written.values())
    return Exported(size // dtype.itemsize, size, sum(map(len, folders.values())))


def _by(names: Names, read: Read) -> Read:
    """Return what reads a tensor by its name in a file."""
    return lambda stored: read(names[stored])


def _empty(plan: RunPlan) -> PreTrainedModel:
    """Return the plan's model without any values."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(model_config(plan), dtype=DTYPES[plan.model.precision],
                                                 attn_implementation=plan.model.attention)
    model.tie_weights()
    return model


def _require_same_shapes(plan: RunPlan, module: PreTrainedModel, saved: Mapping[str, tuple[int, ...]]) -> None:
    if plan.adapter:
        return
    expected = {name: tuple(parameter.shape) for name, parameter in module.named_parameters()}
    # Of a run that trains some parameters the others are the base's.
    for name in saved.keys() if needs_base(plan) else expected.keys() | saved.keys():
        if expected.get(name) != saved.get(name):
            raise PlatformError(f"the checkpoint holds {name} as {saved.get(name)} where the plan's model has "
                                f"{expected.get(name)}; it is not of this model")


class _Whole:
    """All of a model: what was trained from the checkpoint, what never was from the base."""

    def __init__(self, plan: RunPlan, module: PreTrainedModel, reader: WeightReader) -> None:
        self._reader = reader
        self.shapes = {name: tuple(parameter.shape) for name, parameter in module.named_parameters()}
        untrained = self.shapes.keys() - reader.manifest.shapes.keys()
        self._base = BaseTensors(plan.model.path, module) if untrained and plan.model.path is not None else None
        if untrained and (known := reader.manifest.base) is not None and plan.model.path is not None and (
                known != base_fingerprint(plan.model.path)):
            raise PlatformError(f"{plan.model.path}: these are not the files that the run began with, and the "
                                "checkpoint does not hold what was never trained; put them back")
        # What a bf16 run computed with is the base rounded to bf16.
        self._dtype = DTYPES[plan.model.precision]

    def read(self, name: str) -> torch.Tensor:
        """Return a tensor of the model, fp32."""
        if self._base is None or name in self._reader.manifest.shapes:
            return self._reader.read(name)
        return self._base.read(name).to(self._dtype).float()
