"""What becomes of a run whose job of Ray has ended."""

import pytest

from launcher.platforms.ray_jobs import RayJob
from launcher.platforms.ray_jobs_verdict import given_up_after, pause_s, verdict
from launcher.platforms.slurm_told import End

YIELDED, ASKED = End("yielded", 75, 1.0, False), End("yielded", 75, 1.0, True)
FINISHED, FAILED, SPENT = End("finished", 0, 1.0, False), End("failed", 1, 1.0, False), End("failed", 76, 1.0, False)


def job(state: str, code: int | None = None, error: str = "", message: str = "") -> RayJob:
    return RayJob("chat.a001", state, message, error, code)


@pytest.mark.parametrize("ended,end,code,again", [
    (job("SUCCEEDED", 0), FINISHED, 0, False),
    (job("FAILED", 75), YIELDED, 75, True),
    (job("FAILED", 75), ASKED, 75, False),
    (job("FAILED", 75), None, 75, True),
    (job("FAILED", 1), FAILED, 1, False),
    (job("FAILED", 2), None, 2, False),
    (job("FAILED", 76), SPENT, 76, True),
    (job("FAILED", 76), None, 76, True),
    (job("FAILED", -9), SPENT, 76, True),
    (job("STOPPED"), YIELDED, 75, False),
    (job("STOPPED"), None, 75, False),
    (job("STOPPED"), FINISHED, 0, False),
    (job("FAILED", -9), None, 76, True),
    (job("FAILED", 137), YIELDED, 75, True),
    (job("FAILED", -9), FINISHED, 0, False),
    (job("FAILED", 127), None, 2, False),
    (job("FAILED", error="JOB_SUPERVISOR_ACTOR_DIED"), None, 76, True),
    (job("FAILED", error="JOB_SUPERVISOR_ACTOR_DIED"), FAILED, 1, False),
    (job("FAILED", error="RUNTIME_ENV_SETUP_FAILURE"), None, 76, False),
    (None, None, 76, True),
    (None, YIELDED, 75, True),
    (None, ASKED, 75, False),
    (None, FINISHED, 0, False)])
def test_the_runs_own_word_counts_most_and_only_what_nobody_meant_is_tried_again(ended, end, code, again):
    found = verdict(ended, end, stopped=False)
    assert (found.code, found.again) == (code, again) and found.said


@pytest.mark.parametrize("ended", [job("FAILED", 75), job("FAILED", 76), job("FAILED", -9), None])
def test_after_a_stop_that_was_meant_for_good_nothing_is_tried_again(ended):
    assert not verdict(ended, None, stopped=True).again


def test_what_gives_up_for_its_own_processes_counts_and_what_lacks_nodes_does_not():
    crashed, alone = End("failed", 76, 1.0, False, "worker_crash"), End("failed", 76, 1.0, False, "node_loss")
    for end, count in ((crashed, 3), (alone, 2), (None, 2)):
        assert given_up_after(verdict(job("FAILED", 76), end, stopped=False), 2, saved=False) == count
    assert given_up_after(verdict(job("FAILED", 75), YIELDED, stopped=False), 2, saved=False) == 2
    assert given_up_after(verdict(job("FAILED", 76), crashed, stopped=False), 2, saved=True) == 0


def test_a_command_that_the_cluster_does_not_have_is_told_with_the_shells_words():
    found = verdict(job("FAILED", 127, message="Job failed, last logs:\n/bin/sh: 1: python: not found\n"), None,
                    stopped=False)
    assert found.said.endswith("/bin/sh: 1: python: not found")


def test_pauses_grow_up_to_five_minutes():
    assert [pause_s(count) for count in (0, 1, 2, 6, 60)] == [5.0, 10.0, 20.0, 300.0, 300.0]
