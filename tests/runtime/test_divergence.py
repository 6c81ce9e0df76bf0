"""Steps that are not finite change nothing, spikes end the attempt, and what is left out is left out for good."""

import json
from pathlib import Path

import pytest

from launcher.core.amending import amend_skip, amended
from launcher.core.attempt import WorkerOrders
from launcher.core.failure import FailureKind
from launcher.core.ledger import prove, surviving
from launcher.core.run_plan import RunPlan
from launcher.data.keys import stored_index
from launcher.data.packed import PackedSplit
from launcher.data.row_digest import digest_of_step
from launcher.storage.checkpoints import Checkpoints
from launcher.storage.run_dir import RunDir
from launcher.storage.store import LocalStore
from tests.runtime.checkpoint.runs import equal, state, train
from tests.runtime.diverging import INFINITE, STEEP, diverging_plan
from tests.runtime.forked import ForkedProcess
from tests.runtime.plain_workers import Result, attempt_plan
from tests.runtime.tiny import zero_config

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
SAME = ("step", "loss", "grad_norm", "learning_rate", "rows_digest", "applied")


def left_out(plan: RunPlan, *steps: int) -> RunPlan:
    made = amend_skip(plan, steps, "bad rows")
    return amended(plan, [made] if made else [])


def told(result: Result) -> list[tuple[object, ...]]:
    return [tuple(step[name] for name in SAME) for step in result.of("step")]


def test_a_step_that_is_not_finite_changes_no_bit_on_any_kind_of_engine(tmp_path: Path) -> None:
    plan = diverging_plan(tmp_path, {2: INFINITE}, stage_rows=(16,))
    processes = []
    for rank in range(2):
        orders = WorkerOrders(run_dir=str(tmp_path / "run"), cache=str(tmp_path / "cache"), plan=plan, rank=rank,
                              attempt=attempt_plan(plan, 2, zero_config(3, 2, 1), 1))
        (tmp_path / f"orders-{rank}.json").write_text(orders.to_json())
        processes.append(ForkedProcess("tests.runtime.not_finite_worker", tmp_path / f"orders-{rank}.json",
                                       tmp_path / "store", tmp_path, log=tmp_path / f"{rank}.log"))
    for rank, process in enumerate(processes):
        assert process.wait(250) == 0, (tmp_path / f"{rank}.log").read_text()[-3000:]
        found = json.loads((tmp_path / f"{rank}.json").read_text())
        assert len(found) == 7
        assert [(kind, what) for kind, each in found.items() for what, true in each.items() if not true] == []


def test_a_run_with_bad_rows_ends_as_one_that_left_them_out_from_the_beginning(tmp_path: Path) -> None:
    """Step 6 is not finite, step 27 is a spike; after it the run goes back to the checkpoint before."""
    plan = diverging_plan(tmp_path, {6: INFINITE, 27: STEEP})
    hurt = train(tmp_path, tmp_path / "hurt", plan, 2)
    assert hurt.exit_codes == [1, 1], hurt.failures()
    assert [step["step"] for step in hurt.of("step")] == list(range(1, 28)), "the spike ends the attempt at once"
    assert [step["step"] for step in hurt.of("step") if not step["applied"]] == [6]
    failures = [failure for rank in range(2) for failure in hurt.of("failed", rank)]
    assert [(failure["kind"], failure["step"]) for failure in failures] == [(FailureKind.DIVERGENCE, 27)] * 2
    assert failures[0]["message"] == failures[1]["message"]
    print(failures[0]["message"])

    run = Checkpoints(RunDir(tmp_path / "hurt"))
    assert run.committed()[0] == 26, "nothing from the spike on was saved"
    assert run.manifest(26).skipped == (6,) and run.manifest(26).chain == left_out(plan, 6).chain(26)
    assert run.manifest(5).chain == plan.chain(5)

    plan = left_out(plan, 6, 27)
    rest = train(tmp_path, tmp_path / "hurt", plan, 2, attempt=2, resume=26)
    whole = train(tmp_path, tmp_path / "whole", plan, 2)
    assert rest.exit_codes == whole.exit_codes == [0, 0], rest.failures() + whole.failures()
    assert [step["step"] for step in whole.of("step") if step["skipped"]] == [6, 27]
    assert [*told(hurt)[:26], *told(rest)] == told(whole)
    assert equal(state(tmp_path / "hurt", plan.steps), state(tmp_path / "whole", plan.steps))
    _assert_proven(tmp_path, plan, hurt, rest)
    named = next(step for step in rest.of("step") if step["skipped"])
    assert named["documents"] == failures[0]["message"].partition("Its rows: ")[2].split(", ")[:len(named["documents"])]


def _assert_proven(folder: Path, plan: RunPlan, hurt: Result, rest: Result) -> None:
    cache = LocalStore(folder / "cache")
    splits = {name: PackedSplit(cache, stored_index(cache, source.fingerprint), "train")
              for name, source in plan.sources.items()}
    events = [{"event": "attempt_started", "resume": None}, *hurt.of("step"),
              {"event": "attempt_started", "resume": 26}, *rest.of("step")]
    steps = surviving([{"attempt": 1, **event} for event in events])
    proof = prove(plan, steps, lambda step: digest_of_step(plan, splits, step))
    assert proof.problems == () and proof.steps == plan.steps and proof.skipped == (6, 27)
