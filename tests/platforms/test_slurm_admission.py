"""Which job of Slurm leaves before anything is started, and what it says."""

import errno
import os
from pathlib import Path

import pytest

from launcher.core.recipe_running import ClusterWish
from launcher.platforms import slurm_admission
from launcher.platforms.slurm_admission import _in_vain, _stopped
from launcher.platforms.slurm_command import Asked
from launcher.platforms.slurm_environment import Allocation
from launcher.platforms.slurm_job import main
from launcher.platforms.slurm_notices import Notices
from launcher.platforms.slurm_verdict import VANISHED
from launcher.storage.jobs import job_record, record_began, record_ends, record_stopped
from launcher.storage.run_dir import RunDir


@pytest.fixture
def in_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """Be the process of a batch script that no Slurm knows."""
    for name, value in (("SLURM_JOB_ID", "42"), ("SLURM_JOB_NUM_NODES", "1"), ("SLURM_JOB_NODELIST", "node1")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(slurm_admission, "_shown", lambda job: {})
    monkeypatch.setattr(Notices, "take_signals", lambda self: None)


def test_a_job_that_was_queued_again_under_a_stop_leaves_once(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    wanted = Asked("x.yaml", str(tmp_path), (), None, None, ClusterWish())
    again = Allocation(42, 1, "node1", "42", None, restarts=1)
    record_began(run, "42", 1.0, allocations=1)
    assert not _stopped(again, wanted, {})
    record = job_record(run, "42")
    assert record is not None
    record_stopped(run, record)
    assert _stopped(again, wanted, {})
    assert not _stopped(again, wanted, {}), "whoever has Slurm queue it once more means it"


def test_a_job_whose_allocations_vanish_leaves_and_one_that_is_preempted_before_it_saves_goes_on(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = RunDir(tmp_path)
    wanted = Asked("x.yaml", str(tmp_path), (), None, None, ClusterWish())
    again = Allocation(42, 1, "node1", "42", None, restarts=1)
    events = [{"event": "attempt_started", "time": 10.0 + number} for number in range(VANISHED)]
    for number in range(VANISHED):
        assert not _in_vain(events, again, wanted)
        record_began(run, "42", 1.0, allocations=number + 1)
    assert not _in_vain(events[1:], again, wanted), "something new was saved, or one of them ended"
    assert _in_vain(events, again, wanted) and "submit again to go on" in capsys.readouterr().out
    record_ends(run, "42")
    assert not _in_vain(events, again, wanted)


AWAY = OSError(errno.ETIMEDOUT, "the storage cannot be reached (X); asked 3 times in 9 s", "s3://bucket/x/plan.json")


def away(*_: object) -> None:
    raise AWAY


def test_a_job_that_does_not_get_to_its_runs_storage_ends_with_one_sentence(in_job, capsys, monkeypatch) -> None:
    monkeypatch.setattr(slurm_admission, "read_journal", away)
    assert main(["quickstart", "--run-dir", f"memory://{os.getpid()}/x"]) == 76
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "does not get to the run's storage: s3://bucket/x/plan.json: the storage " in said
    assert "asked 3 times in 9 s. Every node of a job must reach it" in said


def test_a_run_below_a_file_is_the_persons_mistake(in_job, capsys, tmp_path: Path) -> None:
    (tmp_path / "chat.jsonl").write_text("{}\n")
    assert main(["quickstart", "--run-dir", str(tmp_path / "chat.jsonl/x")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "chat.jsonl/x" in said and "Not a directory; --run-dir names another place" in said
