"""A tiny plan and an attempt on this machine, for tests whose workers are fakes."""

import time
from pathlib import Path

from launcher.core.attempt import AttemptPlan, Cluster, Node, RankPlace
from launcher.core.recipe import ModelChoice, Optimizer, Schedule, TokenizerChoice
from launcher.core.run_plan import RunPlan, SegmentPlan, SourcePlan, StagePlan
from launcher.orchestration.requests import Go

NODE = Node(name="here", address="127.0.0.1", slots=2)


def plan_of(*stages: tuple[str, int]) -> RunPlan:
    """Return a plan of stages given as (name, steps)."""
    planned: list[StagePlan] = []
    for index, (name, steps) in enumerate(stages):
        first = sum(stage.steps for stage in planned)
        planned.append(StagePlan(index=index, name=name, first_step=first + 1, steps=steps, first_row=2 * first,
                                 rows=2 * steps, weights={"a": 1}, block=1, consumed_before={}, learning_rate=0.1,
                                 schedule=Schedule(), optimizer=Optimizer()))
    total = sum(stage.steps for stage in planned)
    segment = SegmentPlan(index=0, first_step=1, steps=total, sequence_length=8, deepspeed="", trainable="all")
    source = SourcePlan(fingerprint="", rows=9, tokens=9, supervised_tokens=9, holdout_rows=0)
    model = ModelChoice(init={"architecture": "llama"}, tokenizer=TokenizerChoice(path="."))
    return RunPlan(grade="exact", name="tiny", seed=0, model=model, adapter=None, tokenizer=None, sequence_length=8,
                   rows_per_step=2, rows=2 * total, steps=total, sources={"a": source}, stages=tuple(planned),
                   segments=(segment,),
                   ds_template={"zero_optimization": {"stage": 3}}, evaluate_every=None, export_dtype="fp32",
                   deterministic=False)


def attempt_of(plan: RunPlan, workers: int = 2, attempt: int = 1) -> AttemptPlan:
    """Return an attempt of some workers on this machine."""
    return AttemptPlan(attempt=attempt, plan=plan.chain(), cluster=Cluster(nodes=(NODE,)), world_size=workers,
                       ranks=tuple(RankPlace(rank=rank, node=0, local_rank=rank) for rank in range(workers)),
                       data_parallel=workers, micro_batch=1, device="cpu", threads=1, ds_config={})


def go_of(run: Path, plan: RunPlan, workers: int = 2) -> Go:
    """Return the word to go."""
    return Go(run_dir=str(run), cache="", plan=plan, attempt=1, placed=attempt_of(plan, workers), typed=time.time(),
              phases={"cli": (0.0, 0.1)})
