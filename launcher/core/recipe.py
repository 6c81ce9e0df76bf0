"""The recipe: what a person writes, as types. Meaning, units and defaults stand at each field.

Decides what one field may say. How text becomes a Recipe, with places for messages, is `core.recipe_text`; what
follows from a recipe is `core.planning`.
"""

from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from launcher.core.document import Document
from launcher.core.quantities import Count, Share
from launcher.core.recipe_adapter import Adapter
from launcher.core.recipe_gates import EarlyStopping, ForgetWish
from launcher.core.recipe_mixing import Mix, Replay, ReplayWish, SamplingWish, StopRule, WeightUnit
from launcher.core.recipe_policies import TrainableWish, Unfreeze
from launcher.core.recipe_running import (
    CheckpointPolicy,
    ClusterWish,
    DivergencePolicy,
    DivergenceWish,
    Evaluate,
    Export,
    OutOfMemory,
    SlurmOptions,
)
from launcher.core.recipe_sources import Source
from launcher.core.recipe_speed import Speed
from launcher.core.recipe_tracking import Tracking

Name = str
"""A name that becomes part of file names: letters, digits, dot, dash and underscore."""
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"

OPTIMIZER_BEFORE = (("state", "carried"), ("layer_decay", None))
"""What earlier versions did, and did not say."""
Precision = Literal["fp32", "bf16"]
Attention = Literal["sdpa", "eager", "flash_attention_2"]


class TokenizerTraining(Document):
    """Train a byte-level BPE on the recipe's sources."""

    vocab_size: int = Field(default=2000, ge=300, le=1_000_000)
    """Entries of the vocabulary, special tokens included."""


class TokenizerChoice(Document):
    """Where the tokenizer comes from: exactly one of `path` and `train`."""

    path: str | None = None
    """A Hugging Face directory (relative to the recipe) or hub id."""
    train: TokenizerTraining | None = None
    """A new one, trained on the sources."""

    @model_validator(mode="after")
    def _one(self) -> "TokenizerChoice":
        if (self.path is None) == (self.train is None):
            raise ValueError("give exactly one of path and train")
        return self


class ModelChoice(Document):
    """The base model: a Hugging Face directory or hub id (`path`), or a new one (`init`)."""

    path: str | None = None
    """A Hugging Face directory (relative to the recipe) or hub id."""
    init: dict[str, Any] | None = None
    """A new model: `architecture` (a transformers model type such as llama) and any field of its config."""
    tokenizer: TokenizerChoice | None = None
    """Default: the one beside the model."""
    precision: Precision = "bf16"
    """What the forward and backward passes compute in. Master weights and moments are fp32 either way."""
    chat_template: str | None = None
    """A Jinja file (relative to the recipe) or the name of a shipped template, in place of the tokenizer's own."""
    attention: Attention = "sdpa"
    """The attention kernel. Each start tests that documents packed by it do not see each other."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third more compute."""
    speed: Speed = Speed()
    """What libraries offer to compute the same faster or in less memory. All of it is off."""

    @model_serializer(mode="wrap")
    def _said(self, written: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Part of plans: one that asks for nothing of it is the same as in earlier versions.
        fields: dict[str, Any] = written(self)
        return fields if self.speed != Speed() else {name: value for name, value in fields.items() if name != "speed"}

    @model_validator(mode="after")
    def _one(self) -> "ModelChoice":
        if (self.path is None) == (self.init is None):
            raise ValueError("give exactly one of path (a directory or hub id) and init (a new model)")
        if self.init is not None and "architecture" not in self.init:
            raise ValueError("init needs architecture: a transformers model type such as llama")
        if self.init is not None and self.tokenizer is None:
            raise ValueError("a new model needs a tokenizer: tokenizer: {train: {vocab_size: 2000}} or {path: ...}")
        return self


class Length(Document):
    """How long a stage is: exactly one of steps, tokens, epochs of a source, and until its sources are exhausted."""

    steps: Count | None = None
    """Optimizer steps."""
    tokens: Count | None = None
    """Tokens without padding; rounded up to whole steps."""
    epochs: float | None = Field(default=None, gt=0)
    """Passes over one source, parts of a pass included; the last step may be partial."""
    of: Name | None = None
    """The source that `epochs` counts; not needed when the mix has one source."""
    until: StopRule | None = None
    """first_exhausted: until one source of the mix is. all_exhausted: until each was; those that may go on begin again
    meanwhile. A source is exhausted by its `max_epochs` or `max_tokens`, or where it has none, by an epoch here."""

    @model_validator(mode="after")
    def _one(self) -> "Length":
        given = [name for name in ("steps", "tokens", "epochs", "until") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError("give exactly one of steps, tokens, epochs and until")
        if self.of is not None and self.epochs is None:
            raise ValueError("of goes with epochs: {epochs: 2, of: SOURCE}")
        if self.steps == 0 or self.tokens == 0:
            raise ValueError(f"{given[0]} must be at least 1")
        return self


class Schedule(Document):
    """The learning rate over a stage, as a closed form of the step."""

    kind: Literal["cosine", "linear", "constant"] = "cosine"
    """How the rate falls after its warm-up."""
    warmup: Share = 0.03
    """Share of the stage's steps over which the rate rises linearly from 0."""
    minimum: Share = 0.1
    """The rate at the stage's end, as a share of its peak. Not used by constant."""


class Optimizer(Document):
    """AdamW, with no decay on norms and biases."""

    kind: Literal["adamw"] = "adamw"
    """AdamW (arXiv 1711.05101)."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled decay of matrices, per step and unit of the learning rate."""
    betas: tuple[float, float] = (0.9, 0.95)
    """Decay of the first and the second moment."""
    epsilon: float = Field(default=1e-8, gt=0)
    """Added to the root of the second moment."""
    clip: float = Field(default=1.0, ge=0)
    """Largest global gradient norm; 0 clips nothing."""
    state: Literal["carried", "reset"] = "carried"
    """Moments and update counts at a stage's begin: those of the stage before, or as if nothing had been trained."""
    layer_decay: float | None = Field(default=None, gt=0, lt=1)
    """Learn less towards the bottom: of L layers, layer i (from 0) has the rate times layer_decay^(L - i), the head and
    the last norm the whole rate, embeddings layer_decay^(L + 1) of it (BEiT, arXiv 2106.08254; ULMFiT's discriminative
    rates, arXiv 1801.06146, divide by 2.6 a layer: 0.385). Default: all have the same."""

    @model_serializer(mode="wrap")
    def _said(self, written: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Part of plans: one that says nothing of these is the same as in earlier versions.
        fields: dict[str, Any] = written(self)
        return {name: value for name, value in fields.items() if (name, value) not in OPTIMIZER_BEFORE}

    @model_validator(mode="after")
    def _betas(self) -> "Optimizer":
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas are in [0, 1), not {list(self.betas)}")
        return self


class Batch(Document):
    """The global batch of one optimizer step: exactly one of rows and tokens."""

    rows: Count | None = None
    """Packed rows of `sequence_length` tokens."""
    tokens: Count | None = None
    """Rounded to the nearest whole number of rows."""

    @model_validator(mode="after")
    def _one(self) -> "Batch":
        if (self.rows is None) == (self.tokens is None):
            raise ValueError("give exactly one of rows and tokens")
        if self.rows == 0 or self.tokens == 0:
            raise ValueError("a batch has at least 1 row")
        return self


class Stage(Document):
    """A span of the run with one mix and one schedule. One stage is multi-task, several are sequential."""

    name: Name = Field(pattern=NAME_PATTERN)
    """Unique in the recipe."""
    length: Length
    """How long the stage is."""
    mix: Mix
    """Weights of the sources, in tokens unless `weights` says otherwise; only their proportions matter. A list of names
    gives each the weight 1, or leaves it to `sampling`."""
    mix_end: Mix | None = None
    """Weights at the stage's end: they change from those of `mix` by the same amount with each row. A source that
    stands in one of the two alone begins or ends with nothing."""
    weights: WeightUnit | None = None
    """What weights count, tokens or examples (documents). Default: the recipe's."""
    sampling: SamplingWish | None = None
    """Make the weights of the mix from the sizes of its sources: proportional, equal, or {temperature: 2, cap: 10M}."""
    replay: ReplayWish = Replay(rows=0.0)
    """Share drawn from all earlier stages' sources, against forgetting. A share alone (5%) is of the rows, and all
    sources have the same part of it; {tokens: 5%} is of the tokens, and may decay and name a general set."""
    learning_rate: float | None = Field(default=None, gt=0, lt=10)
    """Peak rate. Default: the recipe's."""
    schedule: Schedule | None = None
    """Default: the recipe's."""
    optimizer: Optimizer | None = None
    """Default: the recipe's. Moments are carried over from stage to stage unless it says `state: reset`."""
    forget: ForgetWish | None = None
    """A gate at the stage's end: by how much holdout losses may lie over what they were. Limits alone ({reasoning: 5%})
    stop the run; {reasoning: 5%, action: repeat, replay: +10%} repeats the stage with more replay."""
    early_stopping: EarlyStopping | None = None
    """End the stage where a holdout's loss has not become better for some evaluations."""
    keep_best: Name | None = None
    """A source: at the stage's end the run goes on from the evaluation in it that was best on this holdout. Each that
    is better than those before is saved."""
    trainable: TrainableWish | None = None
    """Which parameters are trained, by patterns of their names: [lm_head, "model.layers.[2-3].*"]. `*` is anything,
    dots too; a module's name is everything in it. Default: the recipe's."""
    unfreeze: Unfreeze | None = None
    """Train the top first and ever more layers: {every: 20 steps, layers: 1}."""
    batch: Batch | None = None
    """Default: the recipe's."""
    sequence_length: Count | None = None
    """Tokens of a row in this stage. The data is prepared at each length that is used; rows of another length are other
    rows, whose epochs are counted for themselves. Holdouts keep the recipe's. Default: the recipe's."""
    deepspeed: str | None = None
    """A DeepSpeed JSON file for this stage, ZeRO's stage included. Default: the recipe's."""

    @model_validator(mode="after")
    def _weights(self) -> "Stage":
        if not self.mix:
            raise ValueError("mix names no source")
        if self.mix_end is not None and not self.mix_end:
            raise ValueError("mix_end names no source; remove it for a mix that stays")
        for source, weight in [*self.mix.items(), *(self.mix_end or {}).items()]:
            if not 0 < weight < float("inf"):
                raise ValueError(f"the weight of {source} is {weight:g}; it must be above 0 (or leave the source out)")
        return self

    @property
    def mixed(self) -> tuple[Name, ...]:
        """Return the sources of the stage's own mix, at its begin or its end."""
        return tuple({**self.mix, **(self.mix_end or {})})


class Recipe(Document):
    """A recipe: what is trained on what, in what order and proportion."""

    name: Name = Field(pattern=NAME_PATTERN)
    """Names the run and its default directory."""
    description: str | None = None
    """For people."""
    model: ModelChoice
    """What is trained."""
    deepspeed: str = "zero3"
    """A DeepSpeed JSON file in which "auto" marks what the planner fills: a path, or the name of a shipped one."""
    sequence_length: Count
    """Tokens of a row."""
    sources: dict[Name, Source]
    """What data exists, by name."""
    stages: tuple[Stage, ...]
    """In what order and proportion it is trained on."""
    batch: Batch
    """The same for every number of workers."""
    learning_rate: float | None = Field(default=None, gt=0, lt=10)
    """Peak rate of stages that do not say their own."""
    weights: WeightUnit = "tokens"
    """What the weights of mixes count, in every stage that does not say its own: tokens, or examples (documents)."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Decides the order of rows, new weights and all noise."""
    schedule: Schedule = Schedule()
    """Of every stage that does not say its own."""
    optimizer: Optimizer = Optimizer()
    """Of every stage that does not say its own."""
    micro_batch: int | Literal["auto"] = "auto"
    """Rows that one worker computes at once. The arithmetic is the same for any. auto: 4, or what of 2 and 1 fits a
    GPU, as far as the model's shape and the GPU's memory are known."""
    out_of_memory: OutOfMemory = "stop"
    """Stop and say what would need less, or halve the micro-batch and go on from the last checkpoint."""
    divergence: DivergenceWish = DivergencePolicy()
    """When the run goes back and leaves rows out."""
    evaluate: Evaluate = Evaluate()
    """When holdouts are measured."""
    checkpoint: CheckpointPolicy = CheckpointPolicy()
    """When to save."""
    export: Export = Export()
    """The form of the result."""
    adapter: Adapter | None = None
    """Default: all weights are trained."""
    trainable: TrainableWish | None = None
    """Which parameters are trained in stages that do not say their own. Default: all."""
    cluster: ClusterWish = ClusterWish()
    """Where to run."""
    slurm: SlurmOptions | None = None
    """For submission to Slurm."""
    tracking: Tracking | None = None
    """Where to follow the run."""
    deterministic: bool = False
    """On GPU, choose deterministic kernels: slower, and exact to the last bit on the same cluster."""
