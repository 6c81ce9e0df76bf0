"""`launcher checkpoints`: what is there, what is not whole and why, and what to type next."""

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from launcher.cli.checkpoints import print_proof
from launcher.cli.main import app
from launcher.core.ledger import Proof
from launcher.core.run_plan import RunPlan
from launcher.storage.checkpoints import Checkpoints
from launcher.storage.journal import Journal
from launcher.storage.run_dir import RunDir
from launcher.storage.run_start import begin_run
from tests.orchestration.scenes import plan_of
from tests.storage.test_checkpoint_damage import commit
from tests.storage.test_run_start import SUBMISSION

PLAN: RunPlan = plan_of(("one", 3), ("two", 5))


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    run = RunDir(tmp_path / "run")
    begin_run(run, PLAN, b"name: tiny\n", SUBMISSION)
    journal = Journal(run, 1)
    for step in (2, 4):
        commit(Checkpoints(run, PLAN.chain), step, chain=PLAN.chain(step))
        journal.append({"event": "checkpoint_committed", "step": step, "kind": "periodic", "seconds": 0.1,
                        "blocked_seconds": 0.0, "bytes": 9})
    journal.close()
    return run


def launcher(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["checkpoints", *arguments], catch_exceptions=False)


def rows(run: RunDir) -> list[tuple[Any, ...]]:
    found = json.loads(launcher(run.url, "--json").stdout)
    return [(row["step"], row["stage"], row["verified"], row["reason"]) for row in found]


def test_checkpoints_are_listed_with_their_stages(run: RunDir) -> None:
    assert rows(run) == [(2, "one", None, None), (4, "two", None, None)]
    assert f"launcher checkpoints {run.url} --verify    launcher resume {run.url}" in launcher(run.url).stdout


def test_one_that_lost_its_manifest_is_not_passed_over(run: RunDir) -> None:
    (Path(Checkpoints(run).url(4)) / "manifest.json").unlink()
    assert rows(run) == [(2, "one", None, None), (4, "two", False, "manifest.json is missing")]
    assert launcher(run.url).exit_code == 1


def test_where_nothing_is_left_no_resume_is_offered(run: RunDir) -> None:
    for step in (2, 4):
        Checkpoints(run).reject(step)
    told = launcher(run.url).stdout
    assert "has no checkpoint any more: 2 could not be read and are in checkpoints/.rejected" in told
    assert "launcher run tiny.yaml --run-dir NEW" in told and "resume" not in told


def test_rows_that_were_left_out_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    print_proof(Proof(steps=8, rows=32, problems=(), skipped=(2, 4, 5)), PLAN, Console())
    assert "left out by amendments, their rows not trained on: steps 2, 4-5" in capsys.readouterr().out
    print_proof(Proof(steps=8, rows=32, problems=()), PLAN, Console())
    assert "left out" not in capsys.readouterr().out
