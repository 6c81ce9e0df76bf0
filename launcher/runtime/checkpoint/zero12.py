"""Where ZeRO 1 and 2 keep the state: each group's parameters are laid end to end, and a rank holds an equal share.

So a rank's part of a parameter may begin and end anywhere; DeepSpeed notes it at the parameter itself. For bf16 under
ZeRO-1 it takes another optimizer class, which has the same under other names.
"""

from collections.abc import Sequence

import torch

from launcher.core.slices import Slice
from launcher.runtime.checkpoint.state import EngineState, FlatPart


class Zero12State(EngineState):
    """The state of a ZeRO-1 or ZeRO-2 engine."""

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the whole shape of every parameter that is trained."""
        return {self._names[id(parameter)]: tuple(parameter.shape)
                for group in self._groups() for parameter in group}

    def _masters(self) -> Sequence[torch.Tensor]:
        name = "fp32_groups_flat_partition" if self._bf16_optimizer() else "single_partition_of_fp32_groups"
        return getattr(self._zero, name)

    def _groups(self) -> Sequence[Sequence[torch.nn.Parameter]]:
        return self._zero.bf16_groups if self._bf16_optimizer() else self._zero.bit16_groups

    def _bf16_optimizer(self) -> bool:
        return hasattr(self._zero, "fp32_groups_flat_partition")

    def _parts(self, kind: str, group: int) -> tuple[FlatPart, ...]:
        parts: list[FlatPart] = []
        for parameter in self._groups()[group]:
            if (held := getattr(parameter, "_hp_mapping")) is None:  # noqa: B009  (torch's types do not know it)
                continue  # none of it is on this rank
            here, there = held.lp_fragment_address, held.hp_fragment_address
            part = Slice(f"{kind}/{self._names[id(parameter)]}", here.start, here.numel, parameter.numel())
            parts.append(FlatPart(part, there.start))
        return tuple(parts)

    def _follow(self) -> None:
        self._zero.update_lp_params()
