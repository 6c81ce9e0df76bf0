"""The plan: a recipe made exact. It knows no hardware, and is never edited once the run has begun.

Types only; `core.planning` makes a plan, `core.mixing` finds the rows it names. Later changes are amendments
(`core.amending`), and fingerprints chain over stages so that a checkpoint can say which past it belongs to.
"""

from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from launcher.core.document import Document, fingerprint
from launcher.core.recipe import ModelChoice, Optimizer, Schedule
from launcher.core.recipe_adapter import Adapter
from launcher.core.source_index import TokenizerFacts
from launcher.core.trainable import Trainable

FIXED = frozenset({"seed", "model", "adapter", "tokenizer", "sequence_length", "rows_per_step", "ds_template",
                   "deterministic"})
"""Fields that hold for the whole run."""
ADDED = frozenset({"documents", "spans", "ordered", "in_turn", "cut", "seen", "repeat", "sequence_length",
                   "rows_per_step", "deepspeed", "trainable", "unfreeze", "by_depth", "lengths", "ds_templates",
                   "layers"})
"""Fields of parts of the plan that earlier versions do not know."""


class _Grown(Document):
    """A part of the plan that has more fields than in earlier versions: those that say nothing are not written.

    So a recipe that uses none of them has the same plan and the same chain as when its run began.
    """

    @model_serializer(mode="wrap")
    def _said(self, written: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = written(self)
        known = type(self).model_fields
        return {name: value for name, value in fields.items()
                if value or name not in ADDED or known[name].is_required()}


class SourcePlan(_Grown):
    """What the plan counts on in one source."""

    fingerprint: str
    """The prepared source's; empty in estimated grade."""
    rows: int
    tokens: int
    supervised_tokens: int
    holdout_rows: int
    documents: int | None = None
    """Documents in those rows; None where no weight counts them."""


class MixSpan(Document):
    """Rows of a stage over which the mix is one, or changes evenly from row to row."""

    rows: int
    weights: dict[str, int]
    """Whole-number weights in rows, at the span's first row. A source that is not among them is used up."""
    end: dict[str, int] | None = None
    """The weights that the mix changes to, for the same sources; None: it stays."""
    over: int = 0
    """Rows after which it would be there, when no source is used up before."""


class Cut(_Grown):
    """Where a stage ended before its planned end."""

    steps: int
    """Done of the stage."""
    rows: int
    """Of those steps."""
    seen: dict[str, int] = Field(default_factory=dict)
    """Of those rows, each source's: as they came, which inside a block is not what the weights say."""


class Unfreezing(Document):
    """Layers that join those that are trained, counted from the top."""

    every: int
    """Steps."""
    layers: int


class StagePlan(_Grown):
    """A span of steps with one mix and one schedule."""

    index: int
    """From 0."""
    name: str
    first_step: int
    """Over the whole run, from 1."""
    steps: int
    first_row: int
    """Rows of all earlier stages together."""
    rows: int
    """Rows of this stage; the last step may be partial."""
    weights: dict[str, int]
    """Whole-number weights in rows, replay included; they sum to the denominator of each share. Where there are spans,
    at the stage's first row."""
    block: int
    """Rows over which the shares are kept exactly."""
    consumed_before: dict[str, int]
    """Rows of each source that earlier stages have used; epochs go on across stages."""
    learning_rate: float
    schedule: Schedule
    optimizer: Optimizer
    spans: tuple[MixSpan, ...] = ()
    """Where the mix does not stay the same: its parts, one after the other. Empty: `weights` hold throughout."""
    ordered: tuple[str, ...] = ()
    """Sources whose rows come as they lie in their first epoch, for a curriculum; others are always shuffled."""
    in_turn: bool = False
    """It may end anywhere: also inside a block the rows of a source come in the source's own order, so that those which
    were seen are its first ones, and what follows goes on behind them."""
    cut: Cut | None = None
    """Where it ended early, by an amendment. Its order of rows and its learning rates stay those of the whole."""
    repeat: int = 0
    """How often it was repeated with more replay, by amendments."""
    sequence_length: int | None = None
    """Of its rows, where it is another than the run's. Rows of another length are other rows, with epochs of their
    own: `consumed_before` counts those of stages with this length."""
    rows_per_step: int | None = None
    """Where it is another than the run's."""
    deepspeed: str | None = None
    """Fingerprint of its own DeepSpeed template."""
    trainable: tuple[str, ...] = ()
    """Patterns of the parameters that it trains; empty: all, or the adapters."""
    unfreeze: Unfreezing | None = None
    """Train ever more layers."""

    @property
    def last_step(self) -> int:
        """Return the number of the stage's last step."""
        return self.first_step + (self.cut.steps if self.cut else self.steps) - 1

    @property
    def rows_done(self) -> int:
        """Return the rows of its steps: all of them, unless it ends early."""
        return self.cut.rows if self.cut else self.rows

    @property
    def uncut(self) -> "StagePlan":
        """Return the stage as it was planned, to its planned end."""
        return self.model_copy(update={"cut": None}) if self.cut else self


class SegmentPlan(_Grown):
    """A span of steps with one engine configuration."""

    index: int
    first_step: int
    steps: int
    sequence_length: int
    deepspeed: str
    """Fingerprint of the DeepSpeed template with its "auto" marks."""
    trainable: Trainable
    by_depth: bool = False
    """Learning rates differ by depth: the optimizer has a group for each."""

    @property
    def last_step(self) -> int:
        """Return the number of the segment's last step."""
        return self.first_step + self.steps - 1

    @property
    def engine(self) -> tuple[Any, ...]:
        """Return what the engine is made from, as JSON has it."""
        trainable = self.trainable if isinstance(self.trainable, str) else self.trainable.model_dump(mode="json")
        return self.sequence_length, self.deepspeed, trainable, *(("by depth",) if self.by_depth else ())

    def overlaps(self, stage: StagePlan) -> bool:
        """Return whether any step of the stage is in the segment."""
        return stage.first_step < self.first_step + self.steps and self.first_step <= stage.last_step


class RunPlan(_Grown):
    """The whole run, exactly."""

    format: Literal[1] = 1
    grade: Literal["exact", "estimated"]
    name: str
    seed: int
    model: ModelChoice
    """As in the recipe, with `path` made absolute."""
    adapter: Adapter | None
    tokenizer: TokenizerFacts | None
    """None in estimated grade."""
    sequence_length: int
    rows_per_step: int
    rows: int
    steps: int
    sources: dict[str, SourcePlan]
    stages: tuple[StagePlan, ...]
    segments: tuple[SegmentPlan, ...]
    ds_template: dict[str, object]
    """The DeepSpeed configuration with its "auto" marks."""
    evaluate_every: int | None
    """Steps; None: only at step 0 and at stage ends."""
    export_dtype: Literal["fp32", "bf16", "fp16"]
    deterministic: bool
    skipped_steps: tuple[int, ...] = ()
    """Steps that amendments leave out, in order: they keep number, rows and place, and compute nothing."""
    lengths: dict[int, dict[str, SourcePlan]] = Field(default_factory=dict[int, dict[str, SourcePlan]])
    """By sequence length, the sources of stages that have another than the run's. Holdouts keep the run's."""
    ds_templates: dict[str, dict[str, object]] = Field(default_factory=dict[str, dict[str, object]])
    """Templates of stages that have their own, by fingerprint."""
    layers: int | None = None
    """Of the model, where a stage unfreezes them."""

    def length_of(self, stage: StagePlan) -> int:
        """Return how many tokens a stage's rows have."""
        return stage.sequence_length or self.sequence_length

    def batch_of(self, stage: StagePlan) -> int:
        """Return the rows of a full step of a stage."""
        return stage.rows_per_step or self.rows_per_step

    def sources_of(self, stage: StagePlan) -> dict[str, SourcePlan]:
        """Return the sources as they are at a stage's sequence length."""
        return self.sources if stage.sequence_length is None else self.lengths[stage.sequence_length]

    def rows_called(self, stage: StagePlan, source: str) -> str:
        """Return what the rows of a source are called at a stage's length: rows of another length are other rows."""
        return source if stage.sequence_length is None else f"{source}@{stage.sequence_length}"

    def as_of(self, stage: StagePlan) -> "RunPlan":
        """Return the plan with a stage's own length, batch and DeepSpeed template as the run's, and its segments: what
        memory and time depend on."""
        return self.model_copy(update={
            "segments": tuple(segment for segment in self.segments if segment.overlaps(stage)),
            "sequence_length": self.length_of(stage), "rows_per_step": self.batch_of(stage),
            "ds_template": self.ds_templates.get(stage.deepspeed or "", self.ds_template)})

    @property
    def row_sets(self) -> dict[str, SourcePlan]:
        """Return all sources at all lengths, by what their rows are called."""
        others = {f"{name}@{length}": source for length, here in self.lengths.items() for name, source in here.items()}
        return {**self.sources, **others}

    def template_of(self, segment: SegmentPlan) -> dict[str, object]:
        """Return the DeepSpeed template of a segment."""
        return self.ds_templates.get(segment.deepspeed, self.ds_template)

    def stages_of(self, segment: SegmentPlan) -> tuple[StagePlan, ...]:
        """Return the stages that have steps in a segment."""
        return tuple(stage for stage in self.stages if segment.overlaps(stage))

    def stage_of(self, step: int) -> StagePlan:
        """Return the stage that a step (from 1) belongs to. Raises IndexError outside the run."""
        for stage in self.stages:
            if stage.first_step <= step <= stage.last_step:
                return stage
        raise IndexError(f"step {step} is not in 1..{self.steps}")

    def segment_of(self, step: int) -> SegmentPlan:
        """Return the segment that a step (from 1) belongs to. Raises IndexError outside the run."""
        for segment in self.segments:
            if segment.first_step <= step <= segment.last_step:
                return segment
        raise IndexError(f"step {step} is not in 1..{self.steps}")

    def rows_of(self, step: int) -> range:
        """Return the stage's row numbers (from 0 in the stage) that a step consumes."""
        stage = self.stage_of(step)
        first = (step - stage.first_step) * self.batch_of(stage)
        return range(first, min(first + self.batch_of(stage), stage.rows))

    def chain(self, step: int | None = None) -> str:
        """Return the last link of H(k) = hash(H(k-1), stage k) over the stages that have begun by a step; default: all.

        A stage's part is its own description, its engine configurations so far and the data it draws on; the last part
        is the steps that were left out by then. Stages to come are not in it, nor steps to be left out, nor that a
        stage will end early, so a checkpoint stays valid when they are changed; nor is what does not change training,
        such as when to evaluate.
        """
        link = fingerprint({name: value for name, value in self.model_dump(mode="json").items() if name in FIXED})
        for stage in self.stages:
            if step is None or stage.first_step <= step:
                engines = [segment.engine for segment in self.segments
                           if segment.overlaps(stage) and (step is None or segment.first_step <= step)]
                sources = self.sources_of(stage)
                data = [part for name in sorted(stage.weights) for part in (name, sources[name].fingerprint)]
                within = step is not None and step <= stage.last_step
                link = fingerprint(link, stage.uncut if within else stage, *engines, *data)
        skipped = [number for number in self.skipped_steps if step is None or number <= step]
        return fingerprint(link, {"skipped": skipped}) if skipped else link
