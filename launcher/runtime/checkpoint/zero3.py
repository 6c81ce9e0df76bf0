"""The state of a ZeRO-3 engine as flat tensors and the slices in them: the one place that knows where it is kept.

DeepSpeed cuts the trainable parameters into sub-groups; of each, a rank holds one flat fp32 tensor with its parts of
all parameters one after the other, each padded to ceil(n / world), and moments of the same layout. Taken where they
lie, because `safe_get_local_*` moves offloaded state to the GPU; a test holds this module to those functions.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from launcher.core.slices import Slice, zero3_slice
from launcher.runtime.partitions import whole_shape

MASTER, MOMENTS = "master", ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True, slots=True)
class FlatPart:
    """A slice in a flat tensor."""

    slice: Slice
    start: int
    """Element of the flat tensor where it begins."""


@dataclass(frozen=True, slots=True)
class Flat:
    """A flat tensor of this rank and what is in it."""

    tensor: torch.Tensor
    parts: tuple[FlatPart, ...]


class Zero3State:
    """What has to be saved of one rank's engine, and what has to be set when it is loaded."""

    def __init__(self, engine: Any, rank: int, world_size: int) -> None:
        self._engine, self._zero = engine, engine.optimizer
        self._rank, self._world_size = rank, world_size
        self._names = {id(parameter): name for name, parameter in engine.module.named_parameters()}

    def flats(self) -> Iterator[Flat]:
        """Yield master weights and moments, group by group; moments are made if no update has been applied yet."""
        for group, master in enumerate(self._zero.fp32_partitioned_groups_flat):
            state = self._moments(master)
            for kind, tensor in ((MASTER, master), *((name, state[name]) for name in MOMENTS)):
                yield Flat(tensor.detach(), self._parts(kind, group))

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the whole shape of every parameter that is trained."""
        return {self._names[id(parameter)]: whole_shape(parameter)
                for group in self._zero.fp16_groups for parameter in group}

    @property
    def updates(self) -> int:
        """Return how many updates have been applied."""
        first = self._zero.fp32_partitioned_groups_flat[0]
        return int(self._zero.optimizer.state.get(first, {}).get("step", 0))

    @torch.no_grad()
    def loaded(self, updates: int) -> None:
        """Let everything that follows from the master weights follow, after `flats` were overwritten."""
        zero = self._zero
        # Small parameters are whole on every rank: let go before their slices change, gathered again after.
        zero.checkpoint_event_prologue()
        for group, master in enumerate(zero.fp32_partitioned_groups_flat):
            step = self._moments(master)["step"]
            self._moments(master)["step"] = torch.full_like(step, updates) if torch.is_tensor(step) else updates
            # The low-precision copy is what computes; setting the master does not touch it.
            zero._reassign_or_swap_out_partitioned_parameters(group)
        zero.checkpoint_event_epilogue()

    def _moments(self, master: torch.Tensor) -> dict[str, Any]:
        state = self._zero.optimizer.state[master]
        if not state:
            # DeepSpeed's kernel counts in an int; torch's in a tensor, on the CPU unless it is fused.
            ours = type(self._zero.optimizer).__name__.startswith("DeepSpeed")
            fused = bool(self._zero.optimizer.defaults.get("fused"))
            where = master.device if fused else torch.device("cpu")
            state["step"] = 0 if ours else torch.zeros((), dtype=torch.float32, device=where)
            state |= {name: torch.zeros_like(master) for name in MOMENTS}
        return state

    def _parts(self, kind: str, group: int) -> tuple[FlatPart, ...]:
        parts: list[FlatPart] = []
        start = 0
        for parameter in self._zero.fp16_groups[group]:
            name = f"{kind}/{self._names[id(parameter)]}"
            parts.append(FlatPart(zero3_slice(name, parameter.ds_numel, self._rank, self._world_size), start))
            start += parameter.partition_numel()
        return tuple(parts)
