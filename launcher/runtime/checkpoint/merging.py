"""Adapters added to the weights that they were trained beside, tensor by tensor, in fp32.

LoRA: W + s B A (arXiv 2106.09685, section 4.1). DoRA: m (W + s B A) / |W + s B A|, norms over the inputs of each output
(arXiv 2402.09353, equation 5). A base in 4 bits is what it was rounded to: adapters make up for the
rounding too. Adapters of several stages are added in their order.
"""

from collections.abc import Mapping, Sequence

import torch
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from launcher.core.errors import PlatformError, UserError
from launcher.core.recipe_adapter import Adapter
from launcher.core.run_plan import RunPlan
from launcher.core.stage_adapters import names_of
from launcher.runtime.checkpoint.base_tensors import BaseTensors
from launcher.runtime.checkpoint.weight_reader import WeightReader
from launcher.runtime.export import LENGTHS
from launcher.runtime.four_bits import quantized_names, rounded
from launcher.runtime.model import DTYPES

PEFT = "base_model.model."


def parts_of(module: str, name: str, adapter: Adapter) -> list[str]:
    """Return what the parameters of a layer's adapter are called, as `adapted` takes them."""
    lengths = (LENGTHS,) if adapter.kind == "dora" else ()
    return [f"{module}.{part}.{name}.weight" for part in ("lora_A", "lora_B", *lengths)]


def adapted(weight: torch.Tensor, adapter: Adapter, parts: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return a weight [outputs, inputs] with an adapter, all in fp32."""
    down, up, *lengths = parts
    changed = weight + adapter.scale * (up @ down)
    return (lengths[0] / changed.norm(dim=1))[:, None] * changed if lengths else changed


class Merged:
    """The base's tensors with what the adapters of a checkpoint make of them."""

    def __init__(self, plan: RunPlan, module: PreTrainedModel, reader: WeightReader) -> None:
        """Look at what there is. Raises UserError where the run has no base, PlatformError where it is another."""
        if plan.model.path is None or plan.adapter is None:
            raise UserError("--merge needs the base model's files, and this run began from a new model")
        self._adapter: Adapter = plan.adapter
        self._base, self._reader = BaseTensors(plan.model.path, module), reader
        self._rounded = {f"{name}.weight" for name in quantized_names(module)} if plan.adapter.base else set[str]()
        self._dtype = DTYPES[plan.model.precision]
        self._transposed = {f"{name}.weight" for name, each in module.named_modules() if isinstance(each, Conv1D)}
        self.shapes: Mapping[str, tuple[int, ...]] = {
            name: tuple(parameter.shape) for name, parameter in module.named_parameters()}
        self._names = names_of(reader.manifest.shapes)
        changed = {name.split(".lora_")[0].removeprefix(PEFT) for name in reader.manifest.shapes}
        if lost := changed - {name.removesuffix(".weight") for name in self.shapes}:
            raise PlatformError(f"adapters of {sorted(lost)[0]} belong to no weight of the base model")

    def read(self, name: str) -> torch.Tensor:
        """Return a tensor of the merged model, fp32."""
        weight = self._base.read(name)
        if name in self._rounded:
            weight = rounded(weight.to(self._dtype)).float()
        module = f"{PEFT}{name.removesuffix('.weight')}"
        first = f"{module}.lora_A.{self._names[0]}.weight"
        if not name.endswith(".weight") or first not in self._reader.manifest.shapes:
            return weight
        if name in self._transposed:
            return self._adapted(weight.T, module).T.contiguous()
        return self._adapted(weight, module)

    def _adapted(self, weight: torch.Tensor, module: str) -> torch.Tensor:
        """Return a weight [outputs, inputs] with its adapters."""
        for name in self._names:
            weight = adapted(weight, self._adapter,
                             [self._reader.read(each) for each in parts_of(module, name, self._adapter)])
        return weight
