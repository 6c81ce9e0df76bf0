"""What a job of Slurm does before it starts anything; its life is in test_slurm_jobs."""

import errno
import os
from pathlib import Path

import pytest

from launcher.core.errors import YIELDED
from launcher.core.recipe_running import ClusterWish
from launcher.platforms import slurm_job
from launcher.platforms.slurm_command import Asked
from launcher.platforms.slurm_environment import Allocation
from launcher.platforms.slurm_job import Job, _mounted, _stopped, main
from launcher.platforms.slurm_notices import Notices
from launcher.storage.jobs import job_record, record_began, record_stopped
from launcher.storage.reach import unreached
from launcher.storage.run_dir import RunDir


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


AWAY = OSError(errno.ETIMEDOUT, "the storage cannot be reached (X); asked 3 times in 9 s", "s3://bucket/x/plan.json")


def away(*_: object) -> None:
    raise AWAY


def test_a_job_that_does_not_get_to_its_runs_storage_ends_with_one_sentence(capsys, monkeypatch) -> None:
    for name, value in (("SLURM_JOB_ID", "42"), ("SLURM_JOB_NUM_NODES", "1"), ("SLURM_JOB_NODELIST", "node1")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(slurm_job, "_shown", lambda job: {})
    monkeypatch.setattr(Notices, "take_signals", lambda self: None)
    monkeypatch.setattr(slurm_job, "read_journal", away)
    assert main(["quickstart", "--run-dir", f"memory://{os.getpid()}/x"]) == 76
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "does not get to the run's storage: s3://bucket/x/plan.json: the storage " in said
    assert "asked 3 times in 9 s. Every node of a job must reach it" in said


def test_storage_that_is_away_when_the_controller_has_ended_does_not_keep_a_job_from_being_queued_again(
        capsys, monkeypatch, tmp_path: Path) -> None:
    wanted = Asked("x.yaml", str(tmp_path), (), None, None, ClusterWish())
    job = Job(Allocation(42, 1, "node1", "42", None), wanted, Notices(), {})
    queued: list[str] = []
    monkeypatch.setattr(slurm_job, "show_job", lambda handle: {"JobState": "RUNNING"})
    monkeypatch.setattr(slurm_job, "requeue", queued.append)
    monkeypatch.setattr(slurm_job, "REQUEUED_S", 0.0)
    monkeypatch.setattr(slurm_job, "read_journal", away)
    assert job._conclude(YIELDED) == YIELDED and queued == ["42"]
    assert "does not get to the run's storage" in capsys.readouterr().out


def test_trouble_with_a_file_of_this_node_is_not_taken_for_storage_that_is_away() -> None:
    with pytest.raises(OSError, match="No space"):
        unreached(OSError(errno.ENOSPC, "No space left on device", "/tmp/x"))


def test_a_container_sees_a_runs_folder_or_the_place_for_copies_of_one_in_a_store(monkeypatch, tmp_path: Path) -> None:
    remote = RunDir(f"memory://{os.getpid()}/x")
    assert _mounted(RunDir(tmp_path)) == [str(tmp_path)] and _mounted(remote) == []
    monkeypatch.setenv("LAUNCHER_SCRATCH", "/local")
    assert _mounted(remote) == ["/local"]
