"""The launcher's workers against a plain PyTorch loop: same losses, gradient norms and final weights."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from launcher.core.recipe import ModelChoice, Optimizer
from launcher.core.recipe_speed import Speed
from launcher.data.packed import PackedSplit
from launcher.storage.store import LocalStore
from tests.runtime.plain_loop import PlainResult, train_plainly
from tests.runtime.plain_workers import Result, attempt_plan, plain_workers
from tests.runtime.tiny import make_plan, write_model, write_source, zero_config

# Three ranks on two cores, beside whatever else a machine does.
pytestmark = pytest.mark.timeout(300)


@dataclass(frozen=True)
class Case:
    """One way to split the same work."""

    workers: int
    micro_batch: int
    rows_per_step: int = 8
    packed: bool = True
    stage: int = 3
    tied: bool = False
    clip: float = 1.0
    attention: str = "sdpa"
    sub_groups: bool = False
    checkpointing: bool = False
    persistent: bool = False
    """DeepSpeed keeps parameters as small as these whole by default."""
    speed: Speed = field(default_factory=Speed)

    def __str__(self) -> str:
        parts = [f"{self.workers} workers", f"{self.rows_per_step} rows by {self.micro_batch}", f"zero{self.stage}",
                 "packed" if self.packed else "one document a row", "tied" * self.tied, self.attention,
                 "subgroups" * self.sub_groups, "checkpointing" * self.checkpointing, "persistent" * self.persistent,
                 *(name for name, value in self.speed if value not in (None, False, 1))]
        return ", ".join(part for part in parts if part)


def both_ways(case: Case, folder: Path,
              precision: str = "fp32") -> tuple[PlainResult, Result, dict[str, torch.Tensor]]:
    """Train 30 steps and a partial one, in two stages, plainly and with the launcher's workers."""
    cache = LocalStore(folder / "cache")
    indexes = [write_source(cache, name, 60, seed, packed=case.packed) for seed, name in enumerate(("sums", "words"))]
    base = write_model(folder / "base", tied=case.tied)
    model = ModelChoice.model_validate({"path": str(base), "precision": precision, "attention": case.attention,
                                         "gradient_checkpointing": case.checkpointing, "speed": case.speed})
    # 12 full steps and a partial one, then 18 and a partial one.
    rows = [12 * case.rows_per_step + 1, 18 * case.rows_per_step + case.rows_per_step // 2]
    plan = make_plan(indexes, model, rows_per_step=case.rows_per_step, stage_rows=rows,
                     optimizer=Optimizer(weight_decay=0.1, clip=case.clip))
    zero = {"sub_group_size": 4000} if case.sub_groups else {}
    zero |= {"stage3_param_persistence_threshold": 100_000} if case.persistent else {}
    ds_config = zero_config(case.stage, case.workers, case.micro_batch, clip=case.clip, bf16=precision == "bf16",
                            **zero)
    with plain_workers(folder / "mail", case.workers) as workers:
        workers.order(folder / "run", cache.url, plan, attempt_plan(plan, case.workers, ds_config, case.micro_batch))
        plain = train_plainly(plan, {index.source: PackedSplit(cache, index, "train") for index in indexes}, base,
                              torch.float32)
        result = workers.finish()
    assert result.exit_codes == [0] * case.workers, result.failures()
    return plain, result, load_file(folder / "run/model/model.safetensors")


def worst(ours: list[float], theirs: list[float]) -> float:
    return max(abs(a - b) / abs(b) for a, b in zip(ours, theirs, strict=True))


def weight_error(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> float:
    assert ours.keys() == theirs.keys()
    return max(float((ours[name] - theirs[name].detach()).norm() / theirs[name].detach().norm()) for name in ours)


SLOW = [
    Case(2, 2), Case(1, 8), Case(3, 1, rows_per_step=7), Case(2, 4, packed=False),
    Case(3, 2, rows_per_step=5, packed=False),
    Case(2, 2, tied=True, checkpointing=True), Case(2, 2, clip=0.0, attention="eager", persistent=True),
    Case(2, 2, sub_groups=True), Case(2, 2, stage=2), Case(3, 1, rows_per_step=7, stage=1),
]
CAMPAIGN = [
    Case(1, 3), Case(2, 1), Case(3, 2), Case(2, 2, tied=True), Case(2, 2, clip=0.0, attention="eager"),
    Case(2, 2, checkpointing=True), Case(2, 2, persistent=True), Case(3, 1, rows_per_step=7, stage=2),
    Case(2, 2, stage=1), Case(3, 2, stage=1),
]
CASES = [*(pytest.param(case, marks=pytest.mark.slow) for case in SLOW),
         *(pytest.param(case, marks=pytest.mark.campaign) for case in CAMPAIGN)]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_agrees_with_plain_pytorch_in_fp32(case: Case, tmp_path: Path) -> None:
    plain, result, weights = both_ways(case, tmp_path)
    steps = result.of("step")
    assert [step["step"] for step in steps] == list(range(1, 33))
    errors = (worst([step["loss"] for step in steps], plain.losses),
              worst([step["grad_norm"] for step in steps], plain.norms), weight_error(weights, plain.weights))
    print(f"{case}: largest relative differences of loss, norm, weights: {errors}")
    assert max(errors) <= 1e-5
    assert plain.losses[-1] != pytest.approx(plain.losses[0], rel=0.01), "nothing was learnt, so nothing was compared"
    assert all(step["applied"] for step in steps)


@pytest.mark.parametrize("stage", [pytest.param(3, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.campaign),
                                   pytest.param(1, marks=pytest.mark.campaign)])
def test_bf16_stays_close_to_fp32(stage: int, tmp_path: Path) -> None:
    plain, result, _ = both_ways(Case(2, 2, stage=stage), tmp_path, "bf16")
    difference = worst([step["loss"] for step in result.of("step")], plain.losses)
    print(f"bf16 zero{stage}: largest relative difference of a step's loss from fp32: {difference:.2g}")
    assert difference <= 0.02
