"""The journal's closed list of events, and the names that machines may rely on.

One JSON object a line, each with `event`, `time` (UTC seconds) and `attempt` (from 1). Fields may be added, never
renamed or removed. Writing and reading lines is `storage.journal`.
"""

from typing import Any, Literal

from pydantic import ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from launcher.core.document import Document
from launcher.core.failure import FailureKind
from launcher.core.forgetting import Forgotten, Transfer

StopReason = Literal["preemption", "time_limit", "signal", "stop_command", "drain", "node_loss", "orphaned",
                     "controller", "spot_notice"]
Outcome = Literal["finished", "failed", "yielded", "refused"]
CheckpointKind = Literal["periodic", "stage", "drain", "best", "permanent", "final"]
Phase = Literal["loading", "data", "forward", "step", "saving", "evaluating", "exporting"]
RunState = Literal["preparing", "starting", "running", "saving", "draining", "restarting", "queued", "yielded",
                   "finished", "failed", "interrupted"]


class Event(Document):
    """What happened, and when."""

    model_config = ConfigDict(frozen=True, extra="allow")
    time: float = 0.0
    attempt: int = 0


class RunStarted(Event):
    """The first event of a run."""

    event: Literal["run_started"] = "run_started"
    name: str
    steps: int
    plan: str


class WorkerPlace(Document):
    """A worker process, by what the operating system calls it."""

    rank: int
    node: str
    pid: int
    started: float
    """When the process started, seconds since its machine did: with the pid it names the process."""


class AttemptStarted(Event):
    """All workers have their orders."""

    event: Literal["attempt_started"] = "attempt_started"
    workers: tuple[WorkerPlace, ...]
    world_size: int
    resume: int | None
    token: int = 0
    """Of the run's lease: attempts with the same one are of one command."""


class StageStarted(Event):
    """The first step of a stage is next."""

    event: Literal["stage_started"] = "stage_started"
    stage: str
    step: int
    steps: int
    mix: tuple[str, ...] = ()
    """Sources of the stage's own mix."""
    replay: tuple[str, ...] = ()
    """Further ones that it replays."""


class SourceSeen(Document):
    """What a stage has trained on of a source. Steps that were left out, or changed nothing, do not count."""

    rows: int
    tokens: int
    """Without padding."""
    supervised_tokens: int
    epochs: float
    """Rows, as a part of the source's."""


class StageEnded(Event):
    """A stage's last step is done: what the stage came to, to be compared with the plan's forecast."""

    event: Literal["stage_ended"] = "stage_ended"
    stage: str
    step: int
    sources: dict[str, SourceSeen]


GOING_BACK = ("end", "repeat")
"""Verdicts after which the run goes on from an earlier step, or from the one that was measured."""


class StageVerdict(Event):
    """What a gate, early stopping or keep-best makes of an evaluation. Workers leave after it, but for a warning."""

    event: Literal["verdict"] = "verdict"
    stage: str
    step: int
    """After which it was measured."""
    action: Literal["end", "repeat", "stop", "warn"]
    """end: the stage is over. repeat: it is done again with more replay. stop: the run ends. warn: it is only told."""
    go_on: int
    """The step whose state the run goes on from; steps after it are not of the run any more."""
    reason: str
    """For people."""
    repeat: int = 0
    """How often the stage had been repeated before."""


class ForgettingTold(Event):
    """A stage ended: what became of each source by then, and GEM's transfer. How it is counted is `core.forgetting`."""

    event: Literal["forgetting"] = "forgetting"
    stage: str
    step: int
    sources: dict[str, Forgotten]
    transfer: Transfer
    """Of losses, with the sign turned."""
    transfer_of_accuracy: Transfer
    """Empty where accuracies were not measured."""


class SourceLoss(Document):
    """A source's part in a step or evaluation."""

    loss: float | None
    """Summed loss over supervised tokens divided by their number; None when it is not finite."""
    supervised_tokens: int
    rows: int | None = None
    tokens: int | None = None
    """Without padding."""
    accuracy: float | None = None
    """Share of supervised tokens that are the likeliest by the model; of evaluations alone."""

    @model_serializer(mode="wrap")
    def _said(self, written: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = written(self)
        if self.accuracy is None:
            del fields["accuracy"]
        return fields


class StepDone(Event):
    """One optimizer update."""

    event: Literal["step"] = "step"
    step: int
    stage: str
    segment: int
    loss: float | None
    """Before the update, full float precision: summed loss over supervised tokens divided by their number.
    None when it is not finite: JSON has no such number."""
    sources: dict[str, SourceLoss]
    learning_rate: float
    grad_norm: float | None
    """Before clipping; None when it is not finite."""
    tokens: int
    """Without padding."""
    supervised_tokens: int
    seconds: float
    world_size: int
    applied: bool
    """False when the loss or the norm was not finite, or the step was left out: then nothing has changed. `documents`
    names the first of its rows' documents (source:index) then, `document_count` tells how many there are."""
    skipped: bool = False
    """An amendment leaves the step out: nothing was computed."""
    rows_digest: str
    """Hex BLAKE2b-128 over a line `source:index` per document: rows in order, documents in order within the row."""


class RankPace(Event):
    """How fast each rank was by itself over the last steps. How that is measured is `runtime.alone`."""

    event: Literal["rank_pace"] = "rank_pace"
    step: int
    """The last of them."""
    steps: int
    seconds: float
    """Of a step, that the rank in the middle took by itself for what is timed."""
    scores: tuple[float | None, ...]
    """By rank: how many times as long it took as the rank in the middle; None where it had no rows."""


class Straggler(Event):
    """A rank is slower than the others by itself, or is so no more. Nothing follows from it but that it is told."""

    event: Literal["straggler"] = "straggler"
    rank: int
    node: str
    host: str
    """The node's address."""
    step: int
    slow: bool
    """False: it was named before, and is as fast as the others again."""
    score: float
    """How many times as long it takes as the rank in the middle."""


class Evaluation(Event):
    """Loss on the holdouts. Step 0 is the untouched base."""

    event: Literal["evaluation"] = "evaluation"
    step: int
    stage: str
    sources: dict[str, SourceLoss]
    seconds: float | None = None
    """How long it took."""
    scores: dict[str, dict[str, float | int]] = Field(default_factory=dict)
    """By source, where answers were asked for: `exact_match`, or `multiple_choice` and `multiple_choice_norm` (per byte
    of a choice), as shares of `examples`; `left_out` documents had no answer that could be compared."""
    metrics: dict[str, float | None] = Field(default_factory=dict)
    """What the recipe's own function returned; None: a number that is not finite."""
    metrics_error: str | None = None
    """What it raised instead; training goes on."""


class Sample(Document):
    """A document that was asked, and what came of it. Texts are cut."""

    document: int
    """Its index in the source as given."""
    prompt: str
    """Its end."""
    output: str
    reference: str
    correct: bool


class Samples(Event):
    """Some of the answers of which an evaluation's scores were made; always the same documents of a source."""

    event: Literal["samples"] = "samples"
    step: int
    stage: str
    source: str
    samples: tuple[Sample, ...]


class CheckpointCommitted(Event):
    """State after `step` steps is safe."""

    event: Literal["checkpoint_committed"] = "checkpoint_committed"
    step: int
    kind: CheckpointKind
    seconds: float
    blocked_seconds: float
    bytes: int


class CheckpointFailed(Event):
    """A save came to nothing; training goes on."""

    event: Literal["checkpoint_failed"] = "checkpoint_failed"
    step: int
    reason: str


class CheckpointRejected(Event):
    """A committed checkpoint cannot be read and was put aside; the one before is taken."""

    event: Literal["checkpoint_rejected"] = "checkpoint_rejected"
    step: int
    reason: str


class Failed(Event):
    """Something ended wrongly."""

    event: Literal["failure"] = "failure"
    kind: FailureKind
    rank: int | None
    node: str | None
    step: int | None
    message: str


class Cause(Document):
    """The failure that a decision answers, as far as later decisions depend on it."""

    kind: FailureKind
    node: str
    step: int | None
    message: str
    raised: bool


class Decision(Event):
    """What the controller will do about what it saw."""

    event: Literal["decision"] = "decision"
    decision: str
    reason: str
    cause: Cause | None = None
    delay: float | None = None
    """Seconds until the next attempt; None where there is none."""
    micro_batch: int | None = None
    """Rows computed at once from the next attempt on, where that was decided."""


class StopRequested(Event):
    """Somebody or something wants the run to stop by a deadline."""

    event: Literal["stop_requested"] = "stop_requested"
    reason: StopReason
    deadline: float | None
    """UTC seconds; None: as soon as it can be done well."""


class SpotNoticed(Event):
    """The cloud says something of a node's machine."""

    event: Literal["spot_notice"] = "spot_notice"
    node: str
    notice: str
    """In the cloud's word, or what is wrong with asking it."""
    deadline: float | None
    """UTC seconds, when the machine is taken away; None: this is only noted."""


class AttemptEnded(Event):
    """All workers of an attempt are gone."""

    event: Literal["attempt_ended"] = "attempt_ended"
    outcome: Outcome
    step: int
    """Steps done when it ended."""


class RunEnded(Event):
    """The last event: nothing more will be tried without a new command."""

    event: Literal["run_ended"] = "run_ended"
    outcome: Outcome
    exit_code: int


class Exported(Event):
    """The trained model was written."""

    event: Literal["exported"] = "exported"
    path: str
    bytes: int
    parameters: int
    seconds: float | None = None
    """How long it took."""
