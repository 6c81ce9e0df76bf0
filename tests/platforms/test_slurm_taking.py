"""Whether what failed in an allocation was Slurm's doing."""

import pytest

from launcher.core.errors import PlatformError
from launcher.platforms import slurm_taking
from launcher.platforms.slurm_taking import taken

JOB = {"StartTime": "2000", "PreemptTime": "None"}


class Slurm:
    """What Slurm and the machines answer, look by look; the last answer stays."""

    def __init__(self, monkeypatch, *lost, job=JOB, silent=()):
        self.lost, self.told = [*lost], list[str]()
        monkeypatch.setattr(slurm_taking, "show_job", lambda _: job)
        monkeypatch.setattr(slurm_taking, "lost_nodes", lambda *_: self._next())
        monkeypatch.setattr(slurm_taking, "silent", lambda _: list(silent))
        monkeypatch.setattr(slurm_taking, "ASK_S", 0.0)

    def _next(self):
        answer = self.lost.pop(0) if len(self.lost) > 1 else self.lost[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def how(self, *, given_up=False):
        return taken("7", ["a", "b"], lambda: given_up, self.told.append)


def test_a_job_whose_steps_were_told_of_a_preemption_is_taken_away(monkeypatch):
    slurm = Slurm(monkeypatch, [], job={"StartTime": "2000", "PreemptTime": "2003"})
    assert slurm.how() == "Slurm preempts the job" and not slurm.told


def test_what_slurm_knows_nothing_of_and_all_nodes_outlived_is_the_jobs_own_failure_at_once(monkeypatch):
    assert Slurm(monkeypatch, []).how() == ""
    assert Slurm(monkeypatch, ["b"]).how() == "Slurm has lost b"


def test_a_node_that_is_silent_is_waited_for_until_slurm_finds_out(monkeypatch):
    slurm = Slurm(monkeypatch, [], [], PlatformError("Unable to contact slurm controller"), ["b"], silent=["b"])
    assert slurm.how() == "Slurm has lost b"
    assert len(slurm.told) == 1 and slurm.told[0].startswith("b: no answer; waiting")


@pytest.mark.parametrize("given_up,how", [(True, "Slurm ends the allocation"), (False, "")])
def test_the_wait_ends_with_the_allocation_or_in_time(monkeypatch, given_up, how):
    monkeypatch.setattr(slurm_taking, "NOTICED_S", 30.0 if given_up else 0.0)
    assert Slurm(monkeypatch, [], silent=["b"]).how(given_up=given_up) == how
