"""An allocation that follows its run's journal: how early it asks for a stop, and when it has no use any more."""

import json

import pytest

from launcher.platforms import slurm_following
from launcher.platforms.slurm_following import Follower
from launcher.platforms.slurm_notices import Notices
from launcher.storage.run_dir import RunDir

NAMES = ["a", "b"]


@pytest.fixture
def left(monkeypatch):
    """Return the nodes that Slurm still counts as the job's; looks are as often as they are asked for."""
    found = list(NAMES)
    monkeypatch.setattr(slurm_following, "nodes_left", lambda job, names: found)
    monkeypatch.setattr(slurm_following, "LOOK_S", 0.0)
    monkeypatch.setattr(slurm_following, "ASK_S", 0.0)
    return found


def journalled(run, *events):
    with (run.path / run.JOURNAL).open("a") as journal:
        journal.writelines(json.dumps({"time": 1.0, "attempt": 1, **event}) + "\n" for event in events)


def test_the_first_save_that_is_measured_in_an_allocation_moves_its_stop(tmp_path, left):
    run, notices = RunDir(tmp_path), Notices()
    follower = Follower(run, notices, 12 * 3600.0)
    assert notices.margin_s == 60.0
    journalled(run, {"event": "checkpoint_committed", "step": 4, "seconds": 100.0})
    follower.look(1, NAMES)
    assert notices.margin_s == 235.0 and (follower.before, follower.known) == (0, 1)


def test_a_run_that_waits_for_nodes_is_asked_to_leave_once_slurm_has_taken_them_out(tmp_path, left):
    run, notices = RunDir(tmp_path), Notices()
    follower = Follower(run, notices, None)
    journalled(run, {"event": "failure", "kind": "node_loss", "rank": -1, "time": 2.0e10})
    follower.look(1, NAMES)
    assert notices.request() is None
    left.remove("b")
    follower.look(1, NAMES)
    request = notices.request()
    assert request is not None and (request.reason, request.deadline) == ("node_loss", None)
