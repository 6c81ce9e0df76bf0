"""The recipe: what a person writes, as types. Meaning, units and defaults stand at each field.

Decides what one field may say. How text becomes a Recipe, with places for messages, is `core.recipe_text`; what
follows from a recipe is `core.planning`.
"""

from typing import Any, Literal

from pydantic import Field, model_validator

from launcher.core.document import Document
from launcher.core.quantities import Count, Seconds, Share

Name = str
"""A name that becomes part of file names: letters, digits, dot, dash and underscore."""
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"

Form = Literal["messages", "prompt_completion", "alpaca", "text"]
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
    attention: Attention = "sdpa"
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third more compute."""

    @model_validator(mode="after")
    def _one(self) -> "ModelChoice":
        if (self.path is None) == (self.init is None):
            raise ValueError("give exactly one of path (a directory or hub id) and init (a new model)")
        if self.init is not None and "architecture" not in self.init:
            raise ValueError("init needs architecture: a transformers model type such as llama")
        if self.init is not None and self.tokenizer is None:
            raise ValueError("a new model needs a tokenizer: tokenizer: {train: {vocab_size: 2000}} or {path: ...}")
        return self


class Source(Document):
    """One dataset."""

    path: str
    """A JSON lines file, relative to the recipe, or `package:NAME` for data shipped with launcher."""
    format: Form | None = None
    """How a row is read. Found from the columns when not said."""
    loss: Literal["assistant", "last_assistant", "completion", "all"] | None = None
    """Which tokens are learnt. Default: assistant turns of messages, completions, all of a text."""
    separator: str | None = None
    """Between prompt and completion, for prompt_completion. Default: a newline unless white space is there."""
    holdout: Share = 0.0
    """Documents kept for evaluation, chosen by a hash of their content."""
    too_long: Literal["truncate", "drop", "split"] = "truncate"
    """What becomes of documents longer than `sequence_length`. Counted in prepare's table either way."""
    packing: Literal["best_fit", "one_per_row"] = "best_fit"
    """Several documents in one row, or one."""
    tokens: Count | None = None
    """The size, for plans in estimated grade before the data is prepared."""


class Length(Document):
    """How long a stage is: exactly one of steps, tokens, and epochs of a source."""

    steps: Count | None = None
    tokens: Count | None = None
    """Tokens without padding; rounded up to whole steps."""
    epochs: float | None = Field(default=None, gt=0)
    of: Name | None = None
    """The source that `epochs` counts; not needed when the mix has one source."""

    @model_validator(mode="after")
    def _one(self) -> "Length":
        given = [name for name in ("steps", "tokens", "epochs") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError("give exactly one of steps, tokens and epochs")
        if self.of is not None and self.epochs is None:
            raise ValueError("of goes with epochs: {epochs: 2, of: SOURCE}")
        if self.steps == 0 or self.tokens == 0:
            raise ValueError(f"{given[0]} must be at least 1")
        return self


class Schedule(Document):
    """The learning rate over a stage, as a closed form of the step."""

    kind: Literal["cosine", "linear", "constant"] = "cosine"
    warmup: Share = 0.03
    """Share of the stage's steps over which the rate rises linearly from 0."""
    minimum: Share = 0.1
    """The rate at the stage's end, as a share of its peak. Not used by constant."""


class Optimizer(Document):
    """AdamW, with no decay on norms and biases."""

    kind: Literal["adamw"] = "adamw"
    weight_decay: float = Field(default=0.0, ge=0)
    betas: tuple[float, float] = (0.9, 0.95)
    epsilon: float = Field(default=1e-8, gt=0)
    clip: float = Field(default=1.0, ge=0)
    """Largest global gradient norm; 0 clips nothing."""

    @model_validator(mode="after")
    def _betas(self) -> "Optimizer":
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas are in [0, 1), not {list(self.betas)}")
        return self


class Stage(Document):
    """A span of the run with one mix and one schedule. One stage is multi-task, several are sequential."""

    name: Name = Field(pattern=NAME_PATTERN)
    length: Length
    mix: dict[Name, float]
    """Weights of the sources, in tokens; only their proportions matter."""
    replay: Share = 0.0
    """Share of the stage's rows drawn evenly from all earlier stages' sources, against forgetting."""
    learning_rate: float | None = Field(default=None, gt=0, lt=10)
    """Peak rate. Default: the recipe's."""
    schedule: Schedule | None = None
    optimizer: Optimizer | None = None

    @model_validator(mode="after")
    def _weights(self) -> "Stage":
        if not self.mix:
            raise ValueError("mix names no source")
        for source, weight in self.mix.items():
            if not 0 < weight < float("inf"):
                raise ValueError(f"the weight of {source} is {weight:g}; it must be above 0 (or leave the source out)")
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


class CheckpointPolicy(Document):
    """When to save and what to keep."""

    every: str = "30min"
    """A duration (20min) or a number of steps (200 steps)."""
    keep: int = Field(default=2, ge=1)
    """Newest checkpoints kept besides permanent ones."""


class Evaluate(Document):
    """When to measure the loss on each source's holdout. Always at step 0 and at each stage's end."""

    every: str | None = None
    """A number of steps (200 steps). Default: only at step 0 and at stage ends."""


class Export(Document):
    """How the result is written."""

    dtype: Literal["fp32", "bf16", "fp16"] | None = None
    """Default: as the model computes."""


class Adapter(Document):
    """Train low-rank adapters instead of all weights (LoRA, arXiv 2106.09685), by peft."""

    kind: Literal["lora"] = "lora"
    rank: int = Field(default=16, ge=1)
    alpha: float = Field(default=32, gt=0)
    dropout: Share = 0.0
    targets: tuple[str, ...] | Literal["all-linear"] = "all-linear"
    """Names of the modules that get adapters."""


class ClusterWish(Document):
    """What the run asks for. `workers` is for one machine; `nodes` and `gpus_per_node` for many."""

    workers: int | None = Field(default=None, ge=1)
    """Worker processes in all, over any number of cores. Default: one per GPU, or 2 on a machine without any."""
    nodes: int | None = Field(default=None, ge=1)
    gpus_per_node: int | None = Field(default=None, ge=1)
    min_nodes: int | None = Field(default=None, ge=1)
    spares: int = Field(default=0, ge=0)
    threads: int | None = Field(default=None, ge=1)
    """CPU threads of each worker. Default: cores of the node over its workers, at least 1."""


class SlurmOptions(Document):
    """Flags for sbatch, by their long names; values as sbatch takes them."""

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    time: Seconds | None = None
    constraint: str | None = None
    extra: dict[str, str | int | bool] = Field(default_factory=dict)
    """Any other sbatch option by its long name."""


class WandbOptions(Document):
    """A Weights & Biases run, fed from the journal."""

    project: str | None = None
    entity: str | None = None
    mode: Literal["online", "offline"] | None = None


class Tracking(Document):
    """Where the run is followed besides its own journal."""

    wandb: WandbOptions | None = None


class Recipe(Document):
    """A recipe: what is trained on what, in what order and proportion."""

    name: Name = Field(pattern=NAME_PATTERN)
    """Names the run and its default directory."""
    description: str | None = None
    model: ModelChoice
    deepspeed: str = "zero3"
    """A DeepSpeed JSON file in which "auto" marks what the planner fills: a path, or the name of a shipped one."""
    sequence_length: Count
    """Tokens of a row."""
    sources: dict[Name, Source]
    stages: tuple[Stage, ...]
    batch: Batch
    learning_rate: float | None = Field(default=None, gt=0, lt=10)
    """Peak rate of stages that do not say their own."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    schedule: Schedule = Schedule()
    optimizer: Optimizer = Optimizer()
    micro_batch: int | Literal["auto"] = "auto"
    """Rows that one worker computes at once. The arithmetic is the same for any."""
    evaluate: Evaluate = Evaluate()
    checkpoint: CheckpointPolicy = CheckpointPolicy()
    export: Export = Export()
    adapter: Adapter | None = None
    cluster: ClusterWish = ClusterWish()
    slurm: SlurmOptions | None = None
    tracking: Tracking | None = None
    deterministic: bool = False
    """On GPU, choose deterministic kernels: slower, and exact to the last bit on the same cluster."""
