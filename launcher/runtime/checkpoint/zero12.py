"""Where ZeRO 1 and 2 keep the state: each group's parameters are laid end to end, and a rank holds an equal share.

So a rank's part of a parameter may begin and end anywhere; DeepSpeed notes it at the parameter itself. For bf16 under
ZeRO-1 it takes another optimizer class, which has the same under other names.
"""

from collections.abc import Sequence

import torch

from launcher.core.slices import Slice
from launcher.runtime.checkpoint.flats import FlatPart
from launcher.runtime.checkpoint.parked import put_together
from launcher.runtime.checkpoint.state import EngineState


class Zero12State(EngineState):
    """The state of a ZeRO-1 or ZeRO-2 engine."""

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
        parameters = dict(self._engine.module.named_parameters())
        for name, master in self._parked.masters():
            whole = parameters[name].data.view(-1)
            whole.copy_(put_together(master, len(whole), self._world_size, whole))

    def _own(self, parameter: torch.nn.Parameter, part: Slice) -> torch.Tensor:
        return parameter.data.view(-1)[part.low : part.high]
