"""The training loop of one rank: from the cursor to the end of the segment, or until asked to stop.

Every rank executes the same sequence of collectives. What differs between ranks is exchanged once per step in one
small vector; what to do about it follows from the gathered values, the same on all ranks.
"""

import time
from dataclasses import dataclass
from enum import Enum
from math import nan

from launcher.core.errors import Diverged
from launcher.core.events import SourceLoss, StageEnded, StageStarted, StepDone
from launcher.core.run_plan import RunPlan, StagePlan
from launcher.core.schedule import learning_rate
from launcher.core.standing import drawn_of, losses_due
from launcher.runtime.batches import Batches, StepRows
from launcher.runtime.checkpoint.checkpointing import WORDS, Checkpointing
from launcher.runtime.engine import NO_UPDATE, TrainEngine, Update
from launcher.runtime.evaluation import Evaluator, mean_loss, source_losses
from launcher.runtime.judge import SHOWN, Verdict, named
from launcher.runtime.on_device import device_numbers
from launcher.runtime.pacing import Pacing, Place
from launcher.runtime.process_group import Agreement
from launcher.runtime.reporter import Reporter, resident_bytes
from launcher.runtime.stop import StopFlag


class Outcome(Enum):
    """How a worker's part ended."""

    FINISHED = "finished"
    STOPPED = "stopped"
    NEXT = "next"
    """The segment is done and saved: other workers go on with another engine."""


@dataclass(frozen=True, slots=True)
class Rank:
    """This worker among its peers."""

    rank: int
    data_parallel: int
    micro_batch: int
    places: tuple[Place, ...] = ()
    """Of all ranks, in their order."""


class Loop:
    """Runs steps; its parts are made by `runtime.worker`."""

    def __init__(self, plan: RunPlan, rank: Rank, engine: TrainEngine, batches: Batches, evaluator: Evaluator,
                 agreement: Agreement, reporter: Reporter, stop: StopFlag, checkpointing: Checkpointing,
                 done: int) -> None:
        self._plan, self._rank, self._engine, self._batches = plan, rank, engine, batches
        self._evaluator, self._agreement, self._reporter, self._stop = evaluator, agreement, reporter, stop
        self._checkpointing, self._judge = checkpointing, checkpointing.judge
        self._referee = checkpointing.referee
        self._pacing = Pacing(rank.places, reporter)
        self.step = done
        """Steps done."""
        self._segment = plan.segment_of(min(done + 1, plan.steps))

    def run(self) -> Outcome:
        """Train to the end of the segment; return how it ended. Raises what the engine raises, and Diverged."""
        # A checkpoint may be older than what follows its step: what is due there is measured again.
        stage = self._plan.stage_of(max(1, self.step))
        if self.step == 0 or self._evaluation_due(stage):
            if stage.cut is not None:
                self._tell_end(stage)  # it was to end later when this step was trained
            if (losses := self._measure(stage)) is None:
                return self._settle()
            if self._referee.take(self.step, losses) is not None:
                return self._settle(Outcome.NEXT)
        self._reporter.phase("step", self.step + 1)
        while self.step < self._segment.last_step:
            stage = self._plan.stage_of(self.step + 1)
            if self.step + 1 == stage.first_step:
                self._checkpointing.begin(stage)
                self._tell_stage(stage)
            if (left := self._train_step(stage)) is not None:
                return self._settle(left)
        return Outcome.FINISHED if self.step == self._plan.steps else self._settle(Outcome.NEXT)

    def _settle(self, outcome: Outcome = Outcome.STOPPED) -> Outcome:
        """Wait until what is being saved is committed."""
        self._reporter.phase("saving", self.step)
        self._checkpointing.finish()
        return outcome

    def _train_step(self, stage: StagePlan) -> Outcome | None:
        """Run the next step and report it; return how to leave: a rank wants to stop and there is more to do, or the
        stage is over."""
        begin, step, rank = time.perf_counter(), self.step + 1, self._rank
        self._reporter.beat(step, "data")
        rows = self._batches.step_rows(step)
        skipped = self._judge.skips(step)
        here = [nan] * (1 + len(self._plan.sources)) if skipped else self._accumulate(rows, begin)
        exchange = self._agreement.begin([float(self._stop.requested()), *self._checkpointing.word(), *here])
        self._reporter.beat(step, "step")
        update = NO_UPDATE if skipped else self._engine.update(learning_rate(stage, step), stage.optimizer)
        values = exchange()
        self.step = step
        sums = dict(zip(self._plan.sources, values[:, 2 + WORDS :].sum(0).tolist(), strict=True))
        if rank.rank == 0:
            seconds = time.perf_counter() - begin
            self._tell_step(stage, rows, sums, update, seconds, skipped=skipped)
            self._pacing.take(step, values[:, 1 + WORDS].tolist(), seconds)
        if update.applied:
            self._checkpointing.tally.add(rows)
        if not skipped:
            self._refuse_divergence(self._judge.learn(step, sums, rows.supervised, update.grad_norm))
        self._tell_end(stage)
        stopping = bool(values[:, 0].max() > 0)
        losses = self._losses_due(stage, stopping=stopping)
        stopping = stopping or losses is None
        verdict = self._referee.take(step, losses or {})
        self._checkpointing.after_step(step, rows.rows, values[:, 1 : 1 + WORDS], losses or {}, stopping=stopping,
                                       verdict=verdict)
        if verdict is not None:
            return Outcome.NEXT
        return Outcome.STOPPED if stopping and (losses is None or step < self._plan.steps) else None

    def _losses_due(self, stage: StagePlan, *, stopping: bool) -> dict[str, SourceLoss] | None:
        """Return what is to be measured after this step; None if somebody wants to stop, before it or meanwhile.

        Whoever stops has little time: what is due is measured when the run goes on.
        """
        if not self._evaluation_due(stage) or not self._evaluator.measures:
            return {}
        return None if stopping else self._measure(stage)

    def _accumulate(self, rows: StepRows, begin: float) -> list[float]:
        """Compute this rank's part of a step that began then; return the time that it took by itself, and its summed
        losses by source."""
        rank = self._rank
        mine = self._batches.of_rank(rows, rank.rank, rank.data_parallel, rank.micro_batch)
        self._reporter.beat(self.step + 1, "forward")
        loading = time.perf_counter() - begin
        sums = self._engine.accumulate(mine, rows.supervised_tokens).tolist()
        return [self._engine.alone.seconds(loading, rows.tokens / rank.data_parallel), *sums]

    def _refuse_divergence(self, verdict: Verdict | None) -> None:
        if verdict is None:
            return
        # What is being saved is from before this step: the run may go back to it.
        with self._reporter.during("saving", self.step):
            self._checkpointing.finish()
        documents = [name for step in verdict.steps for name in self._batches.documents(self._batches.step_rows(step))]
        raise Diverged(f"{verdict.reason}. Its rows: {named(documents)}")

    def _evaluation_due(self, stage: StagePlan) -> bool:
        return losses_due(self._plan, stage, self.step) or self._evaluator.scores_at(self.step, border=False)

    def _measure(self, stage: StagePlan) -> dict[str, SourceLoss] | None:
        """Return the losses on the holdouts, or None, on all ranks, if one of them was asked to stop meanwhile."""
        if not self._evaluator.measures:
            return {}
        self._reporter.phase("evaluating", self.step)
        losses = self._evaluator.run(self.step, stage.name, border=self.step in (0, stage.last_step))
        self._reporter.phase("step", self.step + 1)
        return losses

    def _tell_stage(self, stage: StagePlan) -> None:
        if self._rank.rank == 0:
            drawn = drawn_of(stage, self._referee.rules)
            self._reporter.event(StageStarted(stage=stage.name, step=stage.first_step, steps=stage.steps,
                                              mix=drawn.mix, replay=drawn.replay))

    def _tell_end(self, stage: StagePlan) -> None:
        """Say what a stage came to. Before its checkpoint, which tells it again where nobody heard it."""
        seen = self._checkpointing.tally.seen
        if self._rank.rank == 0 and self.step == stage.last_step and seen is not None:
            self._reporter.event(StageEnded(stage=stage.name, step=self.step, sources=seen))

    def _tell_step(self, stage: StagePlan, rows: StepRows, sums: dict[str, float], update: Update,
                   seconds: float, *, skipped: bool) -> None:
        documents = [] if update.applied else self._batches.documents(rows)
        named_here = {"documents": documents[:SHOWN], "document_count": len(documents)} if documents else {}
        self._reporter.event(StepDone.model_validate({
            "step": self.step, "stage": stage.name, "segment": self._segment.index,
            "loss": mean_loss(sum(sums.values()), rows.supervised_tokens),
            "sources": source_losses(sums, rows.supervised, rows.rows, rows.tokens_of),
            "learning_rate": learning_rate(stage, self.step), "grad_norm": update.grad_norm, "tokens": rows.tokens,
            "supervised_tokens": rows.supervised_tokens, "seconds": seconds,
            "world_size": self._rank.data_parallel, "applied": update.applied, "skipped": skipped,
            "rows_digest": self._batches.digest(rows), "memory_bytes": resident_bytes(), **device_numbers(),
            **named_here,
        }))
