"""The parts of a recipe about proportions: what weights count, rules that make them from sizes, and replay.

What a stage is otherwise is `core.recipe`, which takes these parts in; what becomes of them is `core.stage_mix`.
"""

from typing import Annotated, Any, Literal, cast

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from launcher.core.document import Document
from launcher.core.quantities import Count, Share, parse_share

WeightUnit = Literal["tokens", "examples"]
StopRule = Literal["first_exhausted", "all_exhausted"]


def parse_mix(value: Any) -> Any:
    """Return weights by source from a mix, or from a list of names: then each weighs 1. Raises ValueError."""
    if not isinstance(value, list | tuple):
        return value
    names = cast(list[Any], value)
    for name in names:
        if not isinstance(name, str):
            raise ValueError(f"a list of a mix names sources, such as [chat, maths]; {name!r} is no name")
        if names.count(name) > 1:
            raise ValueError(f"names {name} twice; give weights instead, such as {{{name}: 2, ...}}")
    return dict.fromkeys(names, 1.0)


Mix = Annotated[dict[str, float], BeforeValidator(parse_mix), WithJsonSchema({
    "anyOf": [{"type": "object", "additionalProperties": {"type": "number"}},
              {"type": "array", "items": {"type": "string"}}],
    "description": "weights by source, or a list of sources",
    "examples": [{"chat": 3, "maths": 1}, ["chat", "maths"]]})]


class Sampling(Document):
    """How weights follow from the sizes of sources: all of them in proportion, or between that and equally.

    A size is the number of tokens, or of examples where `weights` says so, that preparation found to train on.
    """

    kind: Literal["proportional", "equal", "temperature"] = "temperature"
    """proportional: to size. equal: the same for all. temperature: to size^(1/temperature) (T5, arXiv 1910.10683)."""
    temperature: float | None = Field(default=None, ge=1, le=1000)
    """Of kind temperature: 1 is proportional, the higher the nearer to equal."""
    cap: Count | None = None
    """Sources larger than this count as if they had this size: T5's artificial limit. Not of equal."""

    @model_validator(mode="after")
    def _fits(self) -> "Sampling":
        if self.kind == "temperature" and self.temperature is None:
            raise ValueError("say the temperature: {temperature: 2}, or write proportional or equal")
        if self.kind != "temperature" and self.temperature is not None:
            raise ValueError(f"{self.kind} has no temperature; leave out kind, or the temperature")
        if self.kind == "equal" and self.cap is not None:
            raise ValueError("equal looks at no size, so cap changes nothing; remove it, or use temperature")
        if self.cap == 0:
            raise ValueError("cap must be at least 1")
        return self


def parse_sampling(value: Any) -> Any:
    """Return what a rule is made of from its fields, or from its name alone. Raises ValueError with an example."""
    if isinstance(value, str):
        return {"kind": value}
    if value is None or isinstance(value, dict | Sampling):
        return cast(Any, value)
    raise ValueError("write it like proportional, equal, or {temperature: 2, cap: 10M}")


SamplingWish = Annotated[Sampling, BeforeValidator(parse_sampling), WithJsonSchema({
    "anyOf": [{"enum": ["proportional", "equal"]}, Sampling.model_json_schema()]})]


class Replay(Document):
    """What a stage draws from what came before, against forgetting: a share, and of which sources.

    Each source of an earlier stage has a part that falls with its distance: 1 if the stage before mixed it, decay if
    the one before that did, decay^2 and so on.
    """

    tokens: Share | None = None
    """Share of the stage's tokens."""
    rows: Share | None = None
    """Share of the stage's rows, however full they are: what a share alone (`replay: 5%`) means."""
    decay: float = Field(default=1.0, gt=0, le=1)
    """By which a source's part falls for each stage since one mixed it. 1: all earlier sources alike."""
    general: tuple[str, ...] = ()
    """Sources that are replayed besides, in any stage, and never decay: a general set."""
    earlier: bool = True
    """Replay the sources of earlier stages; false: only those of `general`."""

    @model_validator(mode="after")
    def _fits(self) -> "Replay":
        if (self.tokens is None) == (self.rows is None):
            raise ValueError("give the share as exactly one of tokens and rows: {tokens: 10%, decay: 0.5}")
        if not self.earlier and not self.general:
            raise ValueError("earlier: false leaves nothing to replay; name sources in general, or remove it")
        if not self.earlier and self.decay != 1:
            raise ValueError("decay is of earlier stages' sources, which earlier: false leaves out; remove one of them")
        if twice := [name for name in self.general if self.general.count(name) > 1]:
            raise ValueError(f"general names {twice[0]} twice")
        return self

    @property
    def share(self) -> float:
        """Return the share, whatever it counts."""
        return self.tokens or self.rows or 0.0


def parse_replay(value: Any) -> Any:
    """Return what replay is made of from its fields, or from a share of the rows alone."""
    return {"rows": parse_share(value)} if isinstance(value, int | float | str) else value


ReplayWish = Annotated[Replay, BeforeValidator(parse_replay), WithJsonSchema({
    "anyOf": [{"type": "number"}, {"type": "string"}, Replay.model_json_schema()],
    "examples": ["5%", {"tokens": "10%", "decay": 0.5}]})]
