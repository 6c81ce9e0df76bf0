"""Adapters added to the weights that they were trained beside, tensor by tensor, in fp32.

LoRA: W + s B A (arXiv 2106.09685, section 4.1). DoRA: m (W + s B A) / |W + s B A|, norms over the inputs of each output
(arXiv 2402.09353, equation 5). A base in 4 bits is what it was rounded to: adapters make up for the
rounding too.
"""

from collections.abc import Mapping

import torch
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from launcher.core.errors import PlatformError, UserError
from launcher.core.recipe_adapter import Adapter
from launcher.core.run_plan import RunPlan
from launcher.runtime.checkpoint.base_tensors import BaseTensors
from launcher.runtime.checkpoint.weight_reader import WeightReader
from launcher.runtime.export import LENGTHS
from launcher.runtime.four_bits import quantized_names, rounded
from launcher.runtime.model import DTYPES

PEFT = "base_model.model."


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
        adapted = {name.split(".lora_")[0].removeprefix(PEFT) for name in reader.manifest.shapes}
        if lost := adapted - {name.removesuffix(".weight") for name in self.shapes}:
            raise PlatformError(f"adapters of {sorted(lost)[0]} belong to no weight of the base model")

    def read(self, name: str) -> torch.Tensor:
        """Return a tensor of the merged model, fp32."""
        weight = self._base.read(name)
        if name in self._rounded:
            weight = rounded(weight.to(self._dtype)).float()
        module = f"{PEFT}{name.removesuffix('.weight')}"
        if not name.endswith(".weight") or f"{module}.lora_A.default.weight" not in self._reader.manifest.shapes:
            return weight
        if name in self._transposed:
            return self._adapted(weight.T, module).T.contiguous()
        return self._adapted(weight, module)

    def _adapted(self, weight: torch.Tensor, module: str) -> torch.Tensor:
        """Return a weight [outputs, inputs] with its adapter."""
        down, up = (self._reader.read(f"{module}.lora_{part}.default.weight") for part in "AB")
        changed = weight + self._adapter.scale * (up @ down)
        if self._adapter.kind != "dora":
            return changed
        lengths = self._reader.read(f"{module}.{LENGTHS}.default.weight")
        return (lengths / changed.norm(dim=1))[:, None] * changed
