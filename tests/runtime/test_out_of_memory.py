"""A run that goes on with half the micro-batch goes on the same."""

from pathlib import Path

import pytest
import torch

from launcher.core.out_of_memory import after_out_of_memory
from launcher.core.recipe import ModelChoice
from launcher.core.run_plan import RunPlan
from launcher.storage.store import LocalStore
from tests.runtime.checkpoint.runs import EVERY_STEP, copy_until
from tests.runtime.plain_workers import Result, attempt_plan, plain_workers
from tests.runtime.tiny import make_plan, write_model, write_source, zero_config

BEFORE = 4


def train(folder: Path, run: Path, plan: RunPlan, micro_batch: int, resume: int | None = None) -> Result:
    config = zero_config(3, 2, micro_batch)
    with plain_workers(folder / f"mail-{run.name}", 2) as gang:
        attempt = attempt_plan(plan, 2, config, micro_batch, attempt=1 if resume is None else 2, resume=resume)
        gang.order(run, str(folder / "cache"), plan, attempt, EVERY_STEP)
        return gang.finish()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_half_the_micro_batch_has_the_same_losses(tmp_path: Path) -> None:
    cache = LocalStore(tmp_path / "cache")
    indexes = [write_source(cache, name, 60, seed) for seed, name in enumerate(("sums", "words"))]
    plan = make_plan(indexes, ModelChoice(path=str(write_model(tmp_path / "base")), precision="fp32"),
                     rows_per_step=8, stage_rows=(90,))
    whole = train(tmp_path, tmp_path / "whole", plan, BEFORE)
    half = after_out_of_memory("halve", BEFORE)
    assert half is not None and whole.exit_codes == [0, 0], whole.failures()
    rest = train(tmp_path, copy_until(tmp_path / "whole", 3, tmp_path / "half"), plan, half, resume=3)
    assert rest.exit_codes == [0, 0], rest.failures()
    ours, theirs = rest.of("step"), whole.of("step")[3:]
    assert [step["rows_digest"] for step in ours] == [step["rows_digest"] for step in theirs]
    for name in ("loss", "grad_norm"):
        values = torch.tensor([[step[name] for step in steps] for steps in (ours, theirs)], dtype=torch.float64)
        apart = float(((values[0] - values[1]) / values[1]).abs().max())
        print(f"{name} with {half} rows at once instead of {BEFORE}: apart by {apart:.1e} over {len(ours)} steps")
        assert apart <= 1e-5
