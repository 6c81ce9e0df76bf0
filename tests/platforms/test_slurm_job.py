"""What a job of Slurm does when Ray comes up or not, and with what Slurm answers at its end; its life is in
test_slurm_jobs."""

import errno
from pathlib import Path

import pytest

from launcher.core.errors import YIELDED, PlatformError
from launcher.core.recipe_running import ClusterWish
from launcher.platforms import slurm_job
from launcher.platforms.slurm_command import Asked
from launcher.platforms.slurm_container import Container
from launcher.platforms.slurm_environment import Allocation
from launcher.platforms.slurm_job import Job
from launcher.platforms.slurm_notices import Messenger, Notices
from launcher.platforms.slurm_ray import Orders
from launcher.platforms.slurm_steps import NodesStep
from launcher.storage.jobs import record_began, record_started
from launcher.storage.reach import unreached
from launcher.storage.run_dir import RunDir


class Queue:
    """Slurm as a job asks it to be queued again: what it answers, look by look."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, away: int = 0, refuses: bool = False) -> None:
        self.away, self.refuses, self.asked, self.state = away, refuses, 0, "RUNNING"
        monkeypatch.setattr(slurm_job, "requeue", self._requeue)
        monkeypatch.setattr(slurm_job, "show_job", self._show)
        monkeypatch.setattr(slurm_job, "ASK_S", 0.0)
        monkeypatch.setattr(slurm_job, "REQUEUED_S", 0.0)

    def _requeue(self, _job: str) -> None:
        self.asked += 1
        self.away -= 1
        if self.refuses or self.away >= 0:
            raise PlatformError("presently disabled" if self.refuses else "Unable to contact slurm controller")

    def _show(self, _job: str) -> dict[str, str]:
        if self.away >= 0 and not self.refuses:
            raise PlatformError("Unable to contact slurm controller")
        return {"JobState": self.state}


@pytest.fixture
def job(tmp_path: Path) -> Job:
    wanted = Asked("x.yaml", str(tmp_path), (), None, None, ClusterWish())
    return Job(Allocation(42, 1, "node1", "42", None), wanted, Notices(), {})


def test_a_run_that_yields_while_slurms_controller_restarts_is_queued_again_once_it_is_back(
        job: Job, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    queue = Queue(monkeypatch, away=3)
    assert job._conclude(YIELDED) == YIELDED
    assert queue.asked == 4 and "job 42 is queued again" in capsys.readouterr().out


def test_an_answer_that_was_lost_does_not_hide_that_the_job_is_queued_again(
        job: Job, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    queue = Queue(monkeypatch, refuses=True)
    queue.state = "COMPLETING"
    job._requeue()
    assert queue.asked == 1 and "job 42 is queued again" in capsys.readouterr().out


def test_a_job_that_may_not_be_queued_again_asks_once(job: Job, monkeypatch: pytest.MonkeyPatch,
                                                      capsys: pytest.CaptureFixture[str]) -> None:
    queue = Queue(monkeypatch, refuses=True)
    job._conclude(YIELDED)
    assert queue.asked == 1 and "cannot be queued again (presently disabled)" in capsys.readouterr().out


class Step:
    """A controller's step that looks as told, once each, and then has ended."""

    def __init__(self, code: int, looks: int = 0) -> None:
        self.returncode, self._looks = code, looks

    def poll(self) -> int | None:
        self._looks -= 1
        return None if self._looks >= 0 else self.returncode


ORDERS = Orders(job=42, handle="42", address="10.0.0.1", port=20_000, token="planted")


@pytest.mark.parametrize("code,preempted,ends", [(143, True, YIELDED), (76, True, YIELDED), (1, True, 1),
                                                 (143, False, 143)])
def test_a_controller_that_a_preemption_ends_before_it_takes_signals_has_yielded(
        job: Job, monkeypatch: pytest.MonkeyPatch, code: int, preempted: bool, ends: int) -> None:
    told = {"StartTime": "2000", "PreemptTime": "2003" if preempted else "None"}
    monkeypatch.setattr(slurm_job, "show_job", lambda _: told)
    monkeypatch.setattr(slurm_job, "start_controller", lambda *_: Step(code))
    assert job._control(ORDERS, ["node1"]) == ends


def test_a_notice_that_a_full_disk_does_not_take_is_tried_again_and_ends_nothing(
        job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def tell(_messenger: Messenger, request: object) -> None:
        asked.append(request)
        raise OSError(errno.ENOSPC, "No space left on device", "stops/1.json")

    monkeypatch.setattr(Messenger, "tell", tell)
    monkeypatch.setattr(slurm_job, "POLL_S", 0.0)
    monkeypatch.setattr(slurm_job, "start_controller", lambda *_: Step(YIELDED, looks=2))
    job._notices.ended = True
    assert job._control(ORDERS, ["node1"]) == YIELDED and len(asked) == 2


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> NodesStep:
    """Return a step in which Ray does not come up."""
    def wait_ready(*_: object) -> bool:
        raise PlatformError("Ray did not come up on node2")

    monkeypatch.setattr(NodesStep, "wait_ready", wait_ready)
    return NodesStep(["node1", "node2"], ORDERS, Container())


@pytest.mark.parametrize("how", ["Slurm has lost node2", ""])
def test_a_bring_up_that_fails_is_a_new_runs_end_only_where_slurm_takes_nothing_away(
        job: Job, nodes: NodesStep, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
        how: str) -> None:
    monkeypatch.setattr(slurm_job, "taken", lambda *_: how)
    if how:
        assert not job._bring_up(nodes, ["node1", "node2"])
        assert "did not come up on node2. Slurm has lost node2" in capsys.readouterr().out
    else:
        with pytest.raises(PlatformError, match="did not come up on node2"):
            job._bring_up(nodes, ["node1", "node2"])


def test_a_run_that_has_worked_gets_other_allocations_where_ray_does_not_come_up_but_not_for_ever(
        tmp_path: Path, job: Job, nodes: NodesStep, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm_job, "taken", lambda *_: "")
    job._follower.before = 7
    run = RunDir(tmp_path)
    for allocations in (1, 2):
        record_began(run, "42", 1.0, allocations=allocations)
        assert not job._bring_up(nodes, ["node1", "node2"])
    with pytest.raises(PlatformError):
        job._bring_up(nodes, ["node1", "node2"])
    record_started(run, "42")
    assert not job._bring_up(nodes, ["node1", "node2"]), "one that came up in between ends the row"


AWAY = OSError(errno.ETIMEDOUT, "the storage cannot be reached (X); asked 3 times in 9 s", "s3://bucket/x/plan.json")


def away(*_: object) -> None:
    raise AWAY


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
