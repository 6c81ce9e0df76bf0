"""The state of an engine as flat tensors and the slices in them, the same for every ZeRO stage.

Decides what is saved: fp32 master weights and both moments of each parameter that is trained, or was (`parked`). Where
DeepSpeed keeps them is `zero3` and `zero12`. Taken where they lie, because `safe_get_*` moves offloaded state to the
GPU; a test holds this to those functions.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import prod
from typing import Any

import torch

from launcher.core.errors import PlatformError
from launcher.core.slices import Slice
from launcher.runtime.checkpoint.flats import MASTER, MOMENTS, Flat, FlatPart
from launcher.runtime.checkpoint.parked import Parked, put_together
from launcher.runtime.partitions import whole_shape


class EngineState(ABC):
    """What has to be saved of one rank's engine, and what has to be set when it is loaded."""

    def __init__(self, engine: Any, rank: int, world_size: int, parked: Parked | None = None) -> None:
        self._engine, self._zero = engine, engine.optimizer
        self._rank, self._world_size = rank, world_size
        self._parked = parked or Parked({}, {}, rank, world_size)
        self._names = {id(parameter): name for name, parameter in engine.module.named_parameters()}

    @property
    def on_cores(self) -> bool:
        """Return whether the model computes on this machine's cores, not on an accelerator."""
        return self._engine.device.type == "cpu"

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the whole shape of every parameter that is saved."""
        trained = {self._names[id(parameter)]: whole_shape(parameter)
                   for group in self._groups() for parameter in group}
        return trained | self._parked.shapes

    @abstractmethod
    def _groups(self) -> Sequence[Sequence[torch.nn.Parameter]]:
        """Return what is trained, as the flat tensors have it."""

    @abstractmethod
    def _masters(self) -> Sequence[torch.Tensor]:
        """Return this rank's flat fp32 tensor of each group: what the optimizer was given."""

    @abstractmethod
    def _parts(self, kind: str, group: int) -> tuple[FlatPart, ...]:
        """Return what is in the flat tensors of a group."""

    @abstractmethod
    def _follow(self) -> None:
        """Let the parameters that compute follow the master weights."""

    def flats(self) -> Iterator[Flat]:
        """Yield master weights and moments, group by group; moments are made if no update has been applied yet."""
        for group, master in enumerate(self._masters()):
            state = self._moments(master)
            for kind, tensor in ((MASTER, master), *((name, state[name]) for name in MOMENTS)):
                yield Flat(tensor.detach(), self._parts(kind, group))
        yield from self._parked.flats()

    @property
    def updates(self) -> int:
        """Return how many updates have been applied; of the parameters that have most, where these differ."""
        return max(self.counts.values())

    @property
    def counts(self) -> dict[str, int]:
        """Return how many updates of each parameter have been applied."""
        found = dict(self._parked.counts)
        for master, group in zip(self._masters(), self._groups(), strict=True):
            step = int(self._zero.optimizer.state.get(master, {}).get("step", 0))
            found |= {self._names[id(parameter)]: step for parameter in group}
        return found

    @torch.no_grad()
    def loaded(self, updates_of: Callable[[str], int]) -> None:
        """Let everything follow that depends on `flats`, after they were overwritten. Called by all ranks.

        Parameters of a group have the same number of updates, by name. Raises PlatformError otherwise.
        """
        for master, group in zip(self._masters(), self._groups(), strict=True):
            counts = {updates_of(self._names[id(parameter)]) for parameter in group}
            if len(counts) > 1:
                raise PlatformError("the checkpoint counts other updates than the plan; it is of another run")
            self._count(master, counts.pop())
        self._parked.counts = {name: updates_of(name) for name in self._parked.shapes}
        self._follow()

    def _count(self, master: torch.Tensor, updates: int) -> None:
        step = self._moments(master)["step"]
        # One for each group: an optimizer that was given the same tensor twice would count it twice.
        self._moments(master)["step"] = torch.full_like(step, updates) if torch.is_tensor(step) else updates

    @torch.no_grad()
    def reset(self) -> None:
        """Forget moments and how many updates were applied."""
        for master in self._masters():
            for kind in MOMENTS:
                self._moments(master)[kind].zero_()
            self._count(master, 0)
        self._parked.reset()

    @torch.no_grad()
    def take_drawn(self) -> None:
        """Take over the values of what is parked from a model that begins with them."""
        parameters = dict(self._engine.module.named_parameters())
        for name, master in self._parked.masters():
            master.copy_(self._own(parameters[name], self._parked.slices[name]))

    def parked_masters(self, names: Sequence[str], device: torch.device) -> list[torch.Tensor]:
        """Return what is parked under names as whole tensors, fp32. Called by all ranks."""
        own, shapes = dict(self._parked.masters()), self._parked.shapes
        like = torch.empty(0, device=device)
        return [put_together(own[name], prod(shapes[name]), self._world_size, like).view(shapes[name])
                for name in names]

    @torch.no_grad()
    def set_masters(self, values: Mapping[str, torch.Tensor]) -> None:
        """Let parameters that are trained begin with values, by name. Called by all ranks."""
        for group, master in enumerate(self._masters()):
            for part in self._parts("", group):
                own, name = part.slice, part.slice.name.removeprefix("/")
                if name in values:
                    master[part.start : part.start + own.length].copy_(values[name].reshape(-1)[own.low : own.high])
        self._follow()

    @abstractmethod
    def _own(self, parameter: torch.nn.Parameter, part: Slice) -> torch.Tensor:
        """Return this rank's slice of a parameter that is not trained, cut as ZeRO-3 does."""

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
