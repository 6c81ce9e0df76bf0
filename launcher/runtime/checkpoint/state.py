"""The state of an engine as flat tensors and the slices in them, the same for every ZeRO stage.

Decides what is saved: fp32 master weights and both moments of each trainable parameter. Where DeepSpeed keeps them is
`zero3` and `zero12`. Taken where they lie, because `safe_get_*` moves offloaded state to the GPU; a test holds this to
those functions.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from launcher.core.slices import Slice

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


class EngineState(ABC):
    """What has to be saved of one rank's engine, and what has to be set when it is loaded."""

    def __init__(self, engine: Any, rank: int, world_size: int) -> None:
        self._engine, self._zero = engine, engine.optimizer
        self._rank, self._world_size = rank, world_size
        self._names = {id(parameter): name for name, parameter in engine.module.named_parameters()}

    @property
    def on_cores(self) -> bool:
        """Return whether the model computes on this machine's cores, not on an accelerator."""
        return self._engine.device.type == "cpu"

    @property
    @abstractmethod
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the whole shape of every parameter that is trained."""

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

    @property
    def updates(self) -> int:
        """Return how many updates have been applied."""
        return int(self._zero.optimizer.state.get(self._masters()[0], {}).get("step", 0))

    @torch.no_grad()
    def loaded(self, updates: int) -> None:
        """Let everything follow that depends on `flats`, after they were overwritten. Called by all ranks."""
        for master in self._masters():
            state = self._moments(master)
            step = state["step"]
            # One for each group: an optimizer that was given the same tensor twice would count it twice.
            state["step"] = torch.full_like(step, updates) if torch.is_tensor(step) else updates
        self._follow()

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
