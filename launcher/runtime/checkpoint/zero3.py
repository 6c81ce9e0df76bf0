"""Where ZeRO-3 keeps the state: trainable parameters are cut into sub-groups, and of each a rank holds one flat tensor.

In it lie this rank's parts of all parameters, one after the other, each padded to ceil(n / world).
"""

from collections.abc import Sequence

import torch

from launcher.core.slices import zero3_slice
from launcher.runtime.checkpoint.state import EngineState, FlatPart
from launcher.runtime.partitions import whole_shape


class Zero3State(EngineState):
    """The state of a ZeRO-3 engine."""

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the whole shape of every parameter that is trained."""
        return {self._names[id(parameter)]: whole_shape(parameter)
                for group in self._zero.fp16_groups for parameter in group}

    def _masters(self) -> Sequence[torch.Tensor]:
        return self._zero.fp32_partitioned_groups_flat

    def _parts(self, kind: str, group: int) -> tuple[FlatPart, ...]:
        parts: list[FlatPart] = []
        start = 0
        for parameter in self._zero.fp16_groups[group]:
            name = f"{kind}/{self._names[id(parameter)]}"
            parts.append(FlatPart(zero3_slice(name, parameter.ds_numel, self._rank, self._world_size), start))
            start += parameter.partition_numel()
        return tuple(parts)

    def _follow(self) -> None:
        # Small parameters are whole on every rank: let go before their slices change, gathered again after.
        self._zero.checkpoint_event_prologue()
        for group in range(len(self._masters())):
            self._zero._reassign_or_swap_out_partitioned_parameters(group)
        self._zero.checkpoint_event_epilogue()
