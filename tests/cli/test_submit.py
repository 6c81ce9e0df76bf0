"""`launcher submit`: what would be submitted, and what is said where nothing can be."""

import os
from pathlib import Path

import pytest

from launcher.cli.submit import SubmitOptions, submit
from launcher.core.errors import PlatformError, UserError
from launcher.platforms.sbatch import PYTHON
from launcher.storage.lock import take_lease
from launcher.storage.run_dir import RunDir

SBATCH = """#!/bin/sh
printf '%s\\n' "$@" > told
echo "$1" >> began
echo $((76 + $(wc -l < began)))
"""


@pytest.fixture(autouse=True)
def desk(tmp_path, monkeypatch):
    """Sit in an empty folder, on a machine whose sbatch only writes down what it is told."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(PYTHON, "")
    (tmp_path / "bin").mkdir()
    sbatch = tmp_path / "bin/sbatch"
    sbatch.write_text(SBATCH)
    sbatch.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")


def test_a_dry_run_prints_the_command_the_script_and_names_but_no_secret(capsys, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_planted")
    options = SubmitOptions(nodes=2, workers=4, overrides=("slurm.partition=long",))
    assert submit("quickstart", options, dry_run=True) == 0
    printed = capsys.readouterr().out
    assert "--nodes=2 --partition=long" in printed and "quickstart --run-dir runs/quickstart --workers 4" in printed
    assert "#SBATCH --requeue" in printed and "HF_TOKEN" in printed and "hf_planted" not in printed
    assert not Path("runs").exists() and not Path("told").exists()


def test_a_job_is_submitted_with_a_log_in_the_run_directory_and_the_next_command_is_told(capsys):
    assert submit("quickstart", SubmitOptions(run_dir="mine"), dry_run=False) == 0
    told = Path("told").read_text().splitlines()
    assert f"--output={Path('mine').absolute()}/slurm-%j.out" in told and Path("mine").is_dir()
    assert told[-3:] == ["quickstart", "--run-dir", "mine"]
    printed = capsys.readouterr().out
    assert "job 77 is submitted" in printed and "mine/slurm-77.out" in printed and "launcher status mine" in printed


def test_links_of_a_chain_wait_for_each_other(capsys):
    assert submit("quickstart", SubmitOptions(run_dir="mine", chain=3), dry_run=False) == 0
    assert Path("began").read_text().split() == ["--parsable", "--dependency=afterany:77", "--dependency=afterany:78"]
    assert "jobs 77, 78, 79 are submitted" in capsys.readouterr().out


def test_a_run_that_has_saved_is_warned_as_early_as_its_saves_ask_for(capsys):
    Path("mine").mkdir()
    Path("mine/journal.jsonl").write_text('{"event": "checkpoint_committed", "step": 3, "seconds": 200.0}\n')
    assert submit("quickstart", SubmitOptions(run_dir="mine"), dry_run=False) == 0
    assert "--signal=B:USR1@435" in Path("told").read_text().splitlines()
    assert submit("quickstart", SubmitOptions(run_dir="mine", overrides=("slurm={extra: {signal: B:USR1@90}}",)),
                  dry_run=False) == 0
    assert "--signal=B:USR1@90" in Path("told").read_text().splitlines(), "what a person says stands"


def test_a_run_that_somebody_works_on_is_not_submitted_again():
    lease = take_lease(RunDir("runs/quickstart"))
    with pytest.raises(UserError, match="being worked on"):
        submit("quickstart", SubmitOptions(), dry_run=False)
    lease.release()
    assert not Path("told").exists()


def test_without_a_slurm_there_is_one_message(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(PlatformError, match="sbatch: no such command"):
        submit("quickstart", SubmitOptions(), dry_run=False)
