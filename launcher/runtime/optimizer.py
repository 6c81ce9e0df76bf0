"""AdamW over two groups: weights that decay, and norms and biases that do not.

Rates and decay are set before each step from closed forms (`core.schedule`); there is no scheduler object to restore.
"""

from typing import Any

import torch
from torch import nn

from launcher.core.recipe import Optimizer
from launcher.runtime.partitions import whole_shape

DECAYED, PLAIN = "decayed", "plain"


def _decays(parameter: nn.Parameter) -> bool:
    """Return whether a parameter is a matrix: norms' weights and biases are vectors."""
    return len(whole_shape(parameter)) >= 2


def parameter_groups(model: nn.Module) -> list[dict[str, Any]]:
    """Return the non-empty groups of trainable parameters, each with its `name`."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = {DECAYED: [p for p in trainable if _decays(p)], PLAIN: [p for p in trainable if not _decays(p)]}
    return [{"params": parameters, "name": name} for name, parameters in groups.items() if parameters]


def make_optimizer(model: nn.Module, settings: Optimizer, device: torch.device,
                   *, offloaded: bool) -> torch.optim.Optimizer:
    """Return AdamW (arXiv 1711.05101); DeepSpeed's CPU kernel when the optimizer state is offloaded."""
    groups = parameter_groups(model)
    common: dict[str, Any] = {"lr": 0.0, "betas": settings.betas, "eps": settings.epsilon, "weight_decay": 0.0}
    if offloaded and device.type != "cpu":
        from deepspeed.ops.adam import DeepSpeedCPUAdam

        return DeepSpeedCPUAdam(groups, **common, adamw_mode=True)
    return torch.optim.AdamW(groups, **common, fused=device.type == "cuda" or None)


def set_step(groups: list[dict[str, Any]], settings: Optimizer, learning_rate: float) -> None:
    """Set what the next step uses."""
    for group in groups:
        group["lr"] = learning_rate
        group["betas"] = settings.betas
        group["eps"] = settings.epsilon
        group["weight_decay"] = settings.weight_decay if group["name"] == DECAYED else 0.0
