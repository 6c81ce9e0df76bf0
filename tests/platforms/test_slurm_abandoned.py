"""Tasks that their job has left behind: which of them acts, which leaves, and which stays."""

import pytest

from launcher.core.errors import PlatformError
from launcher.platforms import slurm_abandoned, slurm_client
from launcher.platforms.slurm_abandoned import JobWatch
from launcher.platforms.slurm_client import Unsure, is_down
from launcher.platforms.slurm_ray import Orders

ORDERS = Orders(job=7, handle="7", address="10.0.0.1", port=20_000, token="planted")


class Slurm:
    """Slurm as a task asks it."""

    def __init__(self) -> None:
        self.job = {"JobState": "RUNNING", "BatchHost": "a", "NodeList": "b c", "Restarts": "0"}
        self.asked: list[str] = []
        self.requeues = True
        self.answers = self.cancels = True

    def show(self, job):
        self.asked.append(f"show {job}")
        return self.job

    def requeue(self, job):
        if not self.answers:
            raise Unsure("no answer within 60 s")
        if not self.requeues:
            raise PlatformError("disabled")
        self.asked.append(f"requeue {job}")

    def cancel(self, job):
        if not self.cancels:
            raise PlatformError("Unable to contact slurm controller")
        self.asked.append(f"cancel {job}")


@pytest.fixture
def slurm(monkeypatch):
    made = Slurm()
    for name, act in (("show_job", made.show), ("host_names", str.split), ("requeue", made.requeue),
                      ("cancel", made.cancel)):
        monkeypatch.setattr(slurm_abandoned, name, act)
    return made


def over(name, *, node=1, answers=False, saving=False):
    return JobWatch(ORDERS, node, name, lambda: saving, lambda address, port: answers).over()


def test_the_first_of_those_that_are_left_queues_the_job_again(slurm):
    assert not over("c", node=2)
    assert slurm.asked == ["show 7"]
    assert over("b")
    assert slurm.asked[1:] == ["show 7", "requeue 7"]


def test_where_requeueing_is_off_the_job_ends_for_the_next_of_its_chain(slurm):
    slurm.requeues = False
    assert over("b")
    assert slurm.asked == ["show 7", "cancel 7"]


@pytest.mark.parametrize("silent", [{"answers": False}, {"requeues": False, "cancels": False}])
def test_a_job_that_may_have_been_queued_again_is_not_cancelled_and_looked_at_once_more(slurm, silent):
    vars(slurm).update(silent)
    assert not over("b")
    assert slurm.asked == ["show 7"]
    slurm.answers = slurm.requeues = True
    assert over("b") and slurm.asked[-1] == "requeue 7"


def test_a_first_node_that_answers_or_that_slurm_still_counts_is_left_alone(slurm):
    assert not over("b", answers=True)
    assert slurm.asked == []
    slurm.job["NodeList"] = "a b c"
    assert not over("b")
    assert slurm.asked == ["show 7"]


@pytest.mark.parametrize("change", [{"JobState": "COMPLETED"}, {"JobState": "COMPLETING"}, {"Restarts": "1"},
                                    {"NodeList": "a c"}])
def test_a_task_without_a_job_leaves_once_the_first_node_is_silent(slurm, change):
    slurm.job |= {"NodeList": "a b c"} | change
    assert over("b") and not over("b", answers=True)


def test_workers_that_save_while_slurm_ends_the_job_are_not_left(slurm):
    slurm.job |= {"JobState": "COMPLETING", "Restarts": "1", "NodeList": "a b c"}
    assert not over("b", saving=True) and over("b")


@pytest.mark.parametrize("change,leaves", [
    ({"JobState": "COMPLETING", "Restarts": "1"}, False), ({"NodeList": "b c"}, False), ({"JobState": "FAILED"}, True),
    ({"Restarts": "1"}, True)])
def test_the_first_nodes_task_stays_while_its_batch_script_may_be_at_work(slurm, change, leaves):
    slurm.job |= change
    assert over("a", node=0, answers=True) is leaves


def test_a_job_that_slurm_has_forgotten_is_over_and_a_slurm_that_does_not_answer_says_nothing(slurm, monkeypatch):
    for words, leaves in (("scontrol show: slurm_load_jobs error: Invalid job id specified", True),
                          ("scontrol show: no answer within 60 s", False)):
        def show(job, words=words):
            raise PlatformError(words)
        monkeypatch.setattr(slurm_abandoned, "show_job", show)
        assert over("b") is leaves


@pytest.mark.parametrize("state,down", [("ALLOCATED", False), ("MIXED+DRAIN", False), ("ALLOCATED*", True),
                                        ("DOWN", True), ("DOWN+DRAIN", True), ("IDLE+NOT_RESPONDING", True)])
def test_a_node_that_does_no_work_is_known_by_its_state(state, down):
    assert is_down(state) is down


@pytest.mark.parametrize("answers,sound", [(True, ["a", "c"]), (False, ["a", "b", "c"])])
def test_a_step_that_clears_up_goes_to_no_node_that_slurm_knows_to_be_down(monkeypatch, answers, sound):
    def slurm(*command, **_):
        if not answers:
            raise PlatformError("Unable to contact slurm controller")
        states = {"a": "ALLOCATED", "b": "ALLOCATED*", "c": "MIXED"}
        return {"job": "JobId=7 NodeList=a,b,c", "hostnames": "a\nb\nc"}.get(command[-2]) or "\n".join(
            f"NodeName={name} State={state}" for name, state in states.items())

    monkeypatch.setattr(slurm_client, "slurm", slurm)
    assert slurm_client.sound_nodes("7", ["a", "b", "c"]) == sound
