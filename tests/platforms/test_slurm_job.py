"""What a job of Slurm does before it starts anything; its life is in test_slurm_jobs."""

from pathlib import Path

from launcher.core.recipe_running import ClusterWish
from launcher.platforms.slurm_command import Asked
from launcher.platforms.slurm_environment import Allocation
from launcher.platforms.slurm_job import _stopped
from launcher.storage.jobs import job_record, record_began, record_stopped
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
