"""All that memory depends on, as plain numbers: the model, the rows, the workers and DeepSpeed's settings.

Decides nothing. `Zero` reads a filled configuration; a field that it leaves out has DeepSpeed's default.
"""

from dataclasses import dataclass
from typing import Any, Literal, cast

from launcher.core.architectures import ModelFacts
from launcher.core.recipe import Attention, Precision

Device = Literal["cpu", "cuda"]
BYTES = {"fp32": 4, "bf16": 2, "fp16": 2}
FP32 = 4


@dataclass(frozen=True, slots=True)
class Zero:
    """What memory depends on of a filled DeepSpeed configuration. Sizes are in elements."""

    stage: int
    optimizer_away: bool
    """Masters, moments and the update are in the host's memory."""
    parameters_away: bool
    """Slices of the weights that compute are there, too."""
    gradient_bytes: int
    """Of each element that is summed over micro-batches."""
    communication_bytes: int
    """Of each element that is reduced over ranks."""
    reduce_bucket: int
    prefetch: int
    max_live: int
    persistent_below: int
    sub_group: int
    overlap: bool

    @classmethod
    def of(cls, config: dict[str, Any], precision: Precision) -> "Zero":
        """Read a filled configuration."""
        zero = cast(dict[str, Any], config["zero_optimization"])
        stage = int(zero["stage"])
        types = cast(dict[str, Any], config.get("data_types", {}))
        return cls(
            stage=stage, optimizer_away=_away(zero, "offload_optimizer"),
            parameters_away=stage == 3 and _away(zero, "offload_param"),
            gradient_bytes=BYTES[types.get("grad_accum_dtype") or precision],
            communication_bytes=BYTES[config.get("communication_data_type") or precision],
            reduce_bucket=int(zero.get("reduce_bucket_size", 5e8)),
            prefetch=int(zero.get("stage3_prefetch_bucket_size", 5e7)),
            max_live=int(zero.get("stage3_max_live_parameters", 1e9)),
            persistent_below=int(zero.get("stage3_param_persistence_threshold", 1e5)),
            sub_group=int(zero.get("sub_group_size", 1e9)), overlap=bool(zero.get("overlap_comm", stage == 3)))


@dataclass(frozen=True, slots=True)
class Setting:
    """All that memory depends on."""

    facts: ModelFacts
    trained: int
    """Parameters that the optimizer has."""
    frozen: int
    """Parameters that compute only: the base of an adapter, and what no segment trains."""
    adapter_rank: int
    precision: Precision
    attention: Attention
    checkpointing: bool
    length: int
    """Tokens of a row."""
    zero: Zero
    workers: int
    micro_batch: int
    """Rows that a worker computes at once."""
    accumulation: int
    """Micro-batches of a step."""
    device: Device
    four_bits: int = 0
    """Of the frozen ones, those of the layers where these are kept in 4 bits."""
    adapters_at_work: int = 1
    """Adapters beside each layer that compute: those of earlier stages do, too, where they are stacked."""
    parked: int = 0
    """Of the frozen ones, those that earlier stages trained: what they had stays in host memory."""
    chunked: bool = False
    """The loss is computed for some tokens at a time."""

    @property
    def weight_bytes(self) -> int:
        """Return the bytes of each weight that computes."""
        return BYTES[self.precision]

    @property
    def tokens(self) -> int:
        """Return the tokens of a micro-batch."""
        return self.micro_batch * self.length

    @property
    def largest(self) -> int:
        """Return the elements of the largest trained tensor: the embedding, or an adapter's widest matrix."""
        facts = self.facts
        if self.adapter_rank:
            return self.adapter_rank * max(facts.hidden_size, facts.intermediate_size)
        return max(facts.vocab_size, facts.intermediate_size) * facts.hidden_size

    @property
    def slice(self) -> int:
        """Return how many of the trained parameters each worker keeps."""
        return -(-self.trained // self.workers)


def _away(zero: dict[str, Any], name: str) -> bool:
    section = cast(dict[str, Any], zero.get(name) or {})
    return section.get("device", "none") == "cpu"
