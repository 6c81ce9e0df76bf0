"""The part of a recipe about adapters: small matrices that are trained beside weights that stay.

Decides what the fields mean and how strongly adapters count. Which modules they are beside is `core.adapter_targets`,
what cannot be `core.adapter_checks`; peft computes them (`runtime.adapter`).
"""

import re
from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from launcher.core.document import Document
from launcher.core.quantities import Share

ALL_LINEAR = "all-linear"
ADDED = frozenset({"rslora", "base", "per_stage"})
"""Fields that earlier versions do not know. One that says nothing is not written, so the chain of a run that began
before it existed stays the same."""


class Adapter(Document):
    """Train low-rank adapters instead of all weights (LoRA, arXiv 2106.09685), by peft."""

    kind: Literal["lora", "dora"] = "lora"
    """lora: low-rank matrices beside frozen weights. dora: these turn the weights alone, and how long each output's
    weights are is learnt as a number of its own (DoRA, arXiv 2402.09353): nearer to full fine-tuning at low ranks,
    slower, because each forward pass needs the norms of the weights."""
    rank: int = Field(default=16, ge=1)
    """Inner size of each pair of matrices."""
    alpha: float = Field(default=32, gt=0)
    """The adapters' output is scaled by alpha over rank; with rslora, by alpha over the root of rank."""
    rslora: bool = False
    """Scale by alpha over the root of the rank (rsLoRA, arXiv 2312.03732), so that what is learnt at high ranks does
    not shrink with the rank. An alpha that was found without it is too large by the root of its rank."""
    dropout: Share = 0.0
    """Of the adapters' input, while training."""
    targets: tuple[str, ...] | str = Field(default=ALL_LINEAR, examples=[ALL_LINEAR, ["q_proj", "v_proj"]])
    """Which linear layers get adapters. all-linear: all but the output embedding. A list: those of these names, or
    whose names end with them, as q_proj is in each layer. Any other text: a regular expression that whole names match.
    """
    base: Literal["4bit"] | None = None
    """4bit: the frozen linear layers are kept in 4 bits (NF4 with double quantization: QLoRA, arXiv 2305.14314), by
    bitsandbytes, under ZeRO 1 and 2. Default: in the model's precision."""
    per_stage: Literal["stacked", "merged"] | None = None
    """Train an adapter of its own in each stage, while those of earlier stages stay as they are. stacked: they compute
    beside the new one. merged: they are added into the weights that it is beside, in fp32 and then rounded to the
    model's precision, so that a step costs one adapter however many stages there are. Default: one adapter, which all
    stages train."""

    @model_validator(mode="after")
    def _expression(self) -> "Adapter":
        if isinstance(self.targets, str):
            try:
                re.compile(self.targets)
            except re.error as error:
                raise ValueError(f"targets is no regular expression: {error}; a list names modules") from None
        return self

    @model_serializer(mode="wrap")
    def _said(self, written: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = written(self)
        return {name: value for name, value in fields.items() if value or name not in ADDED}

    @property
    def scale(self) -> float:
        """Return what the product of the two matrices is multiplied by."""
        return self.alpha / (self.rank**0.5 if self.rslora else self.rank)

    @property
    def title(self) -> str:
        """Return what people call such an adapter."""
        name = {"lora": "rsLoRA", "dora": "rank-stabilized DoRA"} if self.rslora else {"lora": "LoRA", "dora": "DoRA"}
        return (f"{name[self.kind]} of rank {self.rank}" + (", base in 4 bits" if self.base else "")
                + (f", one a stage, {self.per_stage}" if self.per_stage else ""))
