"""Amendments are kept in order, and one that a dead controller had not yet recorded is found in the checkpoint."""

from pathlib import Path
from typing import Any

import pytest

from launcher.core.amending import amended
from launcher.core.amendment import SkipRows
from launcher.core.cursor import cursor_after
from launcher.core.manifest import Manifest
from launcher.core.run_plan import RunPlan
from launcher.storage.amendments import add_amendment, amendments, restore_skips
from launcher.storage.checkpoints import Checkpoints
from launcher.storage.run_dir import RunDir
from tests.core.planned import planned

PLAN = planned({"a": 400}, [{"length": {"steps": 30}, "mix": {"a": 1}}])


def skip(*steps: int) -> SkipRows:
    return SkipRows(from_step=steps[0], steps=steps, reason="not finite")


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path / "run")


def commit(run: RunDir, step: int, *skipped: int, plan: RunPlan = PLAN) -> None:
    fields: dict[str, Any] = {
        "run": "r", "chain": amended(plan, [skip(*skipped)] if skipped else []).chain(step), "attempt": 1, "step": step,
        "kind": "periodic", "parent": None, "cursor": cursor_after(plan, step), "consumed": {}, "best_loss": None,
        "optimizer_step": step, "world_size": 1, "zero_stage": 3, "precision": "fp32", "committed_at": 0.0,
        "skipped": skipped, "versions": {}, "shapes": {}, "files": ()}
    checkpoints = Checkpoints(run)
    checkpoints.open_staging(1, step)
    checkpoints.commit(Manifest(**fields))


def test_amendments_are_kept_in_order(run: RunDir) -> None:
    made = [skip(number) for number in range(1, 13)]
    for each in made:
        add_amendment(run, each)
    assert amendments(run) == made


def test_a_skip_that_only_the_checkpoint_knows_is_recorded(run: RunDir) -> None:
    add_amendment(run, skip(3))
    commit(run, 8, 3)
    commit(run, 12, 3, 11)
    plan = amended(PLAN, amendments(run))
    after, found = restore_skips(run, plan)
    assert found is not None and found.steps == (11,) and after.skipped_steps == (3, 11)
    assert amended(PLAN, amendments(run)) == after
    assert Checkpoints(run, after.chain).newest(lambda step, reason: pytest.fail(reason)) == 12
    assert restore_skips(run, after) == (after, None)


def test_a_checkpoint_before_a_rollback_does_not_speak_for_the_run(run: RunDir) -> None:
    """Step 7 was left out after this checkpoint had seen it: what it knows besides is of another past."""
    commit(run, 5)
    commit(run, 12, 11)
    plan = amended(PLAN, [skip(7)])
    assert restore_skips(run, plan) == (plan, None)
    told: list[int] = []
    assert Checkpoints(run, plan.chain).newest(lambda step, reason: told.append(step)) == 5 and told == [12]


def test_checkpoints_that_cannot_be_read_are_passed_over(run: RunDir) -> None:
    commit(run, 8, 6)
    commit(run, 12, 6)
    (Path(Checkpoints(run).url(12)) / "manifest.json").write_text("torn")
    after, found = restore_skips(run, PLAN)
    assert found is not None and after.skipped_steps == (6,)
