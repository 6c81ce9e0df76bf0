"""Options for speed that change how a model's own layers compute: Liger's kernels, and torch.compile.

Decides what of a model is compiled and when; which options go together is `core.speed_checks`. The loss by chunks is
`runtime.chunked_loss`.
"""

from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from launcher.core.errors import UserError
from launcher.core.speed_checks import COMPILE, LIGER, NO_COMPILER, NO_LIGER
from launcher.core.yaml_tree import dotted
from launcher.runtime.compiler import without_compiler

OWN_LOSS = {"cross_entropy": False, "fused_linear_cross_entropy": False}
"""Liger's losses are means over a micro-batch; here each token's loss is told by source, and divided once a step."""


def use_liger(model: PreTrainedModel) -> None:
    """Have norms, rotary positions and feed-forward layers computed by Liger, as transformers wires it.

    Raises UserError where the package is missing, or has nothing for the model: it would be left as it is in silence.
    """
    if find_spec("liger_kernel") is None:
        raise UserError(f"{dotted(LIGER)}: {NO_LIGER}")
    known = import_module("liger_kernel.transformers.monkey_patch").MODEL_TYPE_TO_APPLY_LIGER_FN
    if model.config.model_type not in known:
        raise UserError(f"{dotted(LIGER)}: Liger has no kernels for a {model.config.model_type} model; remove it")
    from transformers.integrations.liger import apply_liger_kernel

    apply_liger_kernel(model, OWN_LOSS)


class Compiled:
    """Decoder layers that are compiled, for full micro-batches while training.

    All of these have one shape, so that everything is compiled in the first step; a layer that is compiled in the midst
    of a run takes so long that it passes for a hang. Whatever has another shape computes as it is written.
    """

    def __init__(self, model: Any, rows: int) -> None:
        """Compile the layers of a model in place, for micro-batches of so many rows. Raises UserError where that cannot
        be."""
        if (lacking := without_compiler()) is not None:
            raise UserError(f"{dotted(COMPILE)}: {NO_COMPILER.format(lacking)}")
        layers = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
        if not layers:
            raise UserError(f"{dotted(COMPILE)}: no decoder layers are known of a {model.config.model_type} model; "
                            "remove it")
        self._rows = rows
        for layer in layers:
            # In place, so that parameters keep their names. Layers share their code, and are compiled once for all.
            layer.compile(dynamic=False)

    def training(self, rows: int) -> AbstractContextManager[Any]:
        """Return where a micro-batch of so many rows is computed in."""
        return nullcontext() if rows == self._rows else as_written()


def as_written() -> AbstractContextManager[Any]:
    """Return where nothing is compiled, nor what was compiled is used."""
    return torch.compiler.set_stance("force_eager")
