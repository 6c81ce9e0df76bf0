"""The base model's own tensors, for exports of what a run has not trained: read one at a time from its files."""

from math import prod

import torch
from transformers import PreTrainedModel

from launcher.core.errors import PlatformError
from launcher.core.slices import Slice
from launcher.data.model_files import weight_sources
from launcher.runtime.tensor_files import SafetensorsFolder


class BaseTensors:
    """The base's own tensors, by the names that they have in the model."""

    def __init__(self, path: str, module: PreTrainedModel) -> None:
        self._folder, self._prefix = SafetensorsFolder(path, weight_sources(path)), f"{module.base_model_prefix}."

    def read(self, name: str) -> torch.Tensor:
        """Return a tensor, fp32. Raises PlatformError if it is not there."""
        stored = self._folder.tensors.get(name) or self._folder.tensors.get(name.removeprefix(self._prefix))
        if stored is None:
            raise PlatformError(f"{self._folder.folder}: has no {name}")
        total = prod(stored.shape)
        return stored.read(Slice(name, 0, total, total)).float().view(stored.shape)
