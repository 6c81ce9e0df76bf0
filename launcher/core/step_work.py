"""What one optimizer step makes each rank do: arithmetic, memory traffic, collectives, launches, traffic with the host.

Decides nothing and knows no hardware: how long that takes is `core.step_time`. Each field says its formula's source.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import log2
from typing import Any, Literal, cast

from launcher.core.architectures import ModelFacts


@dataclass(frozen=True, slots=True)
class Shape:
    """What of a model decides the length of its steps."""

    layers: int
    hidden: int
    attention: int
    """Width of all query heads together."""
    layer_parameters: int
    vocab: int
    parameters: int
    """All of them, shared ones once."""
    activations: int
    """Elements that a layer writes for each token: eight widths, and each product inside its feed-forward part."""
    adapter: int | None = None
    """Parameters of an adapter, which alone is trained then."""

    @property
    def trained(self) -> int:
        """Return the parameters that are trained."""
        return self.parameters if self.adapter is None else self.adapter

    @property
    def multiplied(self) -> int:
        """Return the parameters that each token is multiplied with: the input embedding is only looked up."""
        return self.layers * self.layer_parameters + self.vocab * self.hidden


def shape_of(facts: ModelFacts, adapter: int | None = None) -> Shape:
    """Return the shape of a model with gated feed-forward layers."""
    return Shape(layers=facts.layers, hidden=facts.hidden_size, attention=facts.heads * facts.head_size,
                 layer_parameters=facts.layer_parameters, vocab=facts.vocab_size, parameters=facts.parameters,
                 activations=8 * facts.hidden_size + 3 * facts.intermediate_size, adapter=adapter)


@dataclass(frozen=True, slots=True)
class Geometry:
    """How a step is dealt out."""

    sequence_length: int
    micro_batch: int
    micro_batches: int
    """Of each rank."""
    ranks: int
    nodes: int
    zero: Literal[1, 2, 3]
    precision: Literal["fp32", "bf16"] = "bf16"
    reduced_bytes: int = 4
    """Of each gradient that ranks exchange."""
    checkpointing: bool = False
    chunked: bool = False
    """The loss is computed for some tokens at a time: the head is multiplied once more on the way back."""
    whole_mask: bool = False
    """The attention kernel is given a mask, and computes what it hides too."""
    optimizer_on_host: bool = False
    parameters_on_host: bool = False

    @property
    def tokens(self) -> int:
        """Return the tokens of a rank."""
        return self.sequence_length * self.micro_batch * self.micro_batches


@dataclass(frozen=True, slots=True)
class Work:
    """What a rank does in a step. Divided by speeds, all but the last three are the terms of `core.step_time`."""

    matmul: float
    """FLOPs: two for each weight, token and pass (arXiv 2001.08361, section 2.1); with gradient checkpointing layers
    run forward twice; frozen weights have no gradient."""
    attention: float
    """FLOPs: 2 L T d for each token forward over a causal row, two and a half times that backward, since a fused kernel
    computes scores again (arXiv 2205.14135)."""
    activations: float
    """Bytes written between the products: what is bound by memory. One coefficient stands for how often they move."""
    logits: float
    """Bytes of the logits in the model's precision."""
    update: float
    """Bytes of optimizer state and gradients that the update moves: 28 for each trained parameter of this rank's."""
    exchange: float
    """Bytes of collectives through this rank (arXiv 1910.02054, section 7): under ZeRO-3 two gathers of the weights
    and one reduction of gradients in each micro-batch, before it a reduction and one gather a step."""
    launches: float
    """Layers x micro-batches x log2(ranks): what is not hidden of starting kernels and collectives."""
    passes: float
    """Micro-batches: what each costs whatever its depth, such as hooks on the embedding and the head."""
    steps: float
    """One: what every step costs whatever it does."""
    host_traffic: float
    """Bytes between GPU and host."""
    host_update: float
    """Bytes that the update moves in the host's memory."""
    model_flops: float
    """What the model needs whatever the implementation: the usual numerator of MFU, causal attention included."""


TERMS = ("matmul", "attention", "activations", "logits", "update", "exchange", "launches", "passes", "steps")
"""The fields of Work that have a coefficient."""
UPDATE = 28
"""Bytes for each parameter: fp32 master and two moments are read and written, a gradient is read."""


def work(shape: Shape, how: Geometry) -> Work:
    """Return what a rank does in a step."""
    tokens, width = how.tokens, 4 if how.precision == "fp32" else 2
    forward, gradients = _forward(shape), _gradients(shape)
    head = 2.0 * shape.vocab * shape.hidden
    again = (forward - head if how.checkpointing else 0.0) + (head if how.chunked else 0.0)
    scores = 2.0 * shape.layers * how.sequence_length * shape.attention * (2 if how.whole_mask else 1)
    updated = UPDATE * shape.trained / how.ranks
    return Work(
        matmul=tokens * (2 * forward + again + gradients),
        attention=tokens * scores * (4.5 if how.checkpointing else 3.5),
        activations=tokens * shape.layers * shape.activations * width * (4 / 3 if how.checkpointing else 1),
        logits=float(tokens * shape.vocab * width),
        update=0.0 if how.optimizer_on_host else updated,
        exchange=_exchanged(shape, how, width) * (how.ranks - 1) / how.ranks,
        launches=how.micro_batches * shape.layers * max(1.0, log2(how.ranks)),
        passes=float(how.micro_batches), steps=1.0,
        host_traffic=_host_traffic(shape, how, width),
        host_update=updated if how.optimizer_on_host else 0.0,
        model_flops=tokens * (flops_of_token(shape) + 6.0 * shape.layers * how.sequence_length * shape.attention),
    )


def flops_of_token(shape: Shape) -> float:
    """Return what the model's weights need for a token, whatever the implementation: forward, back, and gradients."""
    return 2 * _forward(shape) + _gradients(shape)


def _forward(shape: Shape) -> float:
    return 2.0 * shape.multiplied + (0.0 if shape.adapter is None else 2.0 * shape.adapter)


def _gradients(shape: Shape) -> float:
    return _forward(shape) if shape.adapter is None else 2.0 * shape.adapter


def _exchanged(shape: Shape, how: Geometry, width: int) -> float:
    weights, gradients = float(width * shape.parameters), float(how.reduced_bytes * shape.trained)
    if how.zero == 3:
        return how.micro_batches * (2 * weights + gradients)
    times = how.micro_batches if how.zero == 2 else 1  # Stage 2 keeps only its part of gradients, stage 1 sums first.
    return width * shape.trained + times * gradients


def _host_traffic(shape: Shape, how: Geometry, width: int) -> float:
    states = (4.0 * how.micro_batches + width) * shape.trained / how.ranks if how.optimizer_on_host else 0.0
    weights = 2.0 * how.micro_batches * width * shape.parameters / how.ranks if how.parameters_on_host else 0.0
    return states + weights


def terms(done: Work) -> list[float]:
    """Return the terms that have a coefficient, in the order of TERMS."""
    return [float(getattr(done, name)) for name in TERMS]


def geometry_of(ds_config: Mapping[str, Any], **known: Any) -> Geometry:
    """Return how a step is dealt out: stage, reduction and offloads are those of a DeepSpeed configuration."""
    zero = cast(Mapping[str, Any], ds_config.get("zero_optimization", {}))
    # Not said, or "auto": launcher has gradients reduced in fp32 (`core.ds_config`).
    narrow = ds_config.get("communication_data_type") in ("bf16", "bfp16", "fp16")
    return Geometry(zero=cast(Literal[1, 2, 3], int(zero.get("stage", 3))), reduced_bytes=2 if narrow else 4,
                    optimizer_on_host=_moved(zero.get("offload_optimizer")),
                    parameters_on_host=_moved(zero.get("offload_param")), **known)


def _moved(section: Any) -> bool:
    return isinstance(section, dict) and cast(Mapping[str, Any], section).get("device", "none") != "none"
