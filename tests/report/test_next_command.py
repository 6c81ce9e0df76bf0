"""What is offered next is what helps."""

import os
from pathlib import Path

from launcher.core.recipe import Recipe
from launcher.report.fold import RunFold
from launcher.report.next_command import next_command
from launcher.storage.jobs import record_submitted
from launcher.storage.run_dir import RunDir
from launcher.storage.run_start import SUBMISSION, Submission
from tests.report.journals import FINISHED, ended, failure, started, step

RECIPE = Recipe.model_validate({
    "name": "tiny", "model": {"init": {"architecture": "llama"}, "tokenizer": {"train": {"vocab_size": 300}}},
    "deepspeed": "zero3", "sequence_length": 32, "sources": {"sums": {"path": "sums.jsonl"}}, "batch": {"rows": 2},
    "stages": [{"name": "one", "length": {"steps": 4}, "mix": {"sums": 1}, "learning_rate": 1e-3}]})
COMMITTED = {"event": "checkpoint_committed", "step": 1, "kind": "periodic", "seconds": 0.1, "blocked_seconds": 0.0,
             "bytes": 10, "time": 2.0, "attempt": 1}
FAILED = [*started(1, 1.0), step(1, 2.0), COMMITTED, failure(None, "no checkpoint", 3.0), *ended("failed", 76, 4.0)]


def offered(folder: Path, events: list[dict[str, object]], *, alive: bool = False) -> str:
    return next_command(RunDir(folder), "runs/tiny", RunFold(events), alive=alive)


def committed(folder: Path) -> Path:
    made = folder / "checkpoints/step-00000001"
    made.mkdir(parents=True)
    (made / "manifest.json").write_text("{}")
    return folder


def test_a_run_that_failed_is_looked_at_and_resumed(tmp_path: Path) -> None:
    assert offered(committed(tmp_path), FAILED) == "launcher logs runs/tiny    launcher resume runs/tiny"
    assert offered(tmp_path, FAILED, alive=True) == "launcher logs runs/tiny -f    launcher stop runs/tiny"


def test_a_run_that_was_refused_is_asked_for_again_once_its_recipe_is_mended(tmp_path: Path) -> None:
    refused = [*started(1, 1.0), failure(0, "no answers", 2.0), *ended("refused", 2, 3.0)]
    assert offered(tmp_path, refused) == "launcher logs runs/tiny    launcher run RECIPE --run-dir runs/tiny"
    asked = Submission(file="tiny.yaml", overrides=("seed=1",), recipe=RECIPE, cache="cache")
    RunDir(tmp_path).store.put(SUBMISSION, asked.to_json().encode())
    assert offered(tmp_path, refused).endswith("launcher run tiny.yaml --set seed=1 --run-dir runs/tiny")


def test_a_run_that_had_a_job_is_submitted_again_and_not_trained_on_where_people_log_in(tmp_path: Path) -> None:
    record_submitted(RunDir(committed(tmp_path)), "7", 1.0)
    assert offered(tmp_path, FAILED) == "the same `launcher submit` or sbatch command goes on"
    (tmp_path / "slurm-7.out").write_text("")
    assert offered(tmp_path, FAILED).startswith("less runs/tiny/slurm-7.out    the same")
    assert offered(tmp_path, FINISHED).startswith("launcher export")


def test_the_log_of_a_job_whose_run_is_in_a_store_lies_where_the_job_worked(tmp_path: Path) -> None:
    run = RunDir(f"memory://{tmp_path.name}/{os.getpid()}/tiny")
    record_submitted(run, "7", 1.0, str(tmp_path))
    run.store.put("checkpoints/step-00000001/001-rank-000.bin", b"")
    run.store.put("checkpoints/step-00000001/manifest.json", b"{}")
    assert next_command(run, "runs/tiny", RunFold(FAILED)).startswith("the same `launcher submit`")
    (tmp_path / "slurm-7.out").write_text("")
    assert next_command(run, "runs/tiny", RunFold(FAILED)).startswith(f"less {tmp_path}/slurm-7.out    the same")


def test_a_run_that_stopped_as_asked_goes_on_and_its_log_has_no_news(tmp_path: Path) -> None:
    record_submitted(RunDir(committed(tmp_path)), "7", 1.0)
    (tmp_path / "slurm-7.out").write_text("")
    yielded = [*started(1, 1.0), step(1, 2.0), COMMITTED, *ended("yielded", 75, 4.0)]
    assert offered(tmp_path, yielded) == "the same `launcher submit` or sbatch command goes on"


def test_a_finished_run_is_exported_and_not_resumed(tmp_path: Path) -> None:
    assert offered(tmp_path, FINISHED) == "launcher export runs/tiny OUT    launcher report runs/tiny"


def test_a_run_that_lost_all_it_saved_is_not_resumed_but_begun_again_elsewhere(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    run.store.put(SUBMISSION, Submission(file="/my recipes/tiny.yaml", overrides=("seed=3",), recipe=RECIPE,
                                         cache="/c").to_json().encode())
    assert offered(tmp_path, FAILED) == ("launcher run '/my recipes/tiny.yaml' --set seed=3 --run-dir NEW    "
                                         "launcher status runs/tiny")
    assert "resume" in offered(tmp_path, [event for event in FAILED if event is not COMMITTED])
