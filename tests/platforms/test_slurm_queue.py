"""What squeue prints of jobs in every kind of state, and what it means for their runs."""

import pytest

from launcher.platforms.slurm_queue import (
    QueuedJob,
    most_telling,
    queued_jobs,
    seconds_left,
    squeue_command,
    state_of_run,
)
from launcher.platforms.slurm_reasons import in_words

PRINTED = """\
a site's wrapper says hello | to all
41|RUNNING|1764000000|2-00:00:00|1-02:03:04|node[1-3,7]|/home/me|None
42|PENDING|N/A|12:00:00|12:00:00||/home/me|Priority
43|PENDING|1764003600|12:00:00|12:00:00||/home/me|ReqNodeNotAvail, UnavailableNodes:node[1-2]|more
44|COMPLETING|1764000000|1:00:00|0:00|node9|/home/me|None
46|RUNNING|1764000000|365-00:00:00|364-23:59:50|node8|/home/me|None
45_3|CANCELLED|1764000000|UNLIMITED|364-23:59:50|(null)|/home/me|None
"""


def test_what_squeue_prints_is_read_whatever_state_a_job_is_in():
    found = queued_jobs(PRINTED)
    assert list(found) == ["41", "42", "43", "44", "46", "45_3"]
    assert found["41"] == QueuedJob("41", "RUNNING", 1764000000.0, 93784.0, "node[1-3,7]", "", "/home/me")
    assert found["42"] == QueuedJob("42", "PENDING", None, 43200.0, "", "Priority", "/home/me")
    assert (found["43"].start, found["43"].reason) == (1764003600.0, "ReqNodeNotAvail, UnavailableNodes:node[1-2]|more")
    assert [job.waits for job in found.values()] == [False, True, True, False, False, False]
    assert [job.live for job in found.values()] == [True, True, True, True, True, False]
    assert found["45_3"].left_s is found["46"].left_s is None


def test_jobs_are_asked_for_by_number_and_ended_ones_too():
    assert squeue_command(["41", "45_3"]) == ["squeue", "--noheader", "--states=all", "--array", "--jobs=41,45_3",
                                        "--format=%i|%T|%S|%l|%L|%N|%Z|%r"]


@pytest.mark.parametrize("text,seconds", [("59:58", 3598), ("0:00", 0), ("1:00:00", 3600), ("2-00:00:01", 172801),
                                          ("UNLIMITED", None), ("NOT_SET", None), ("INVALID", None)])
def test_a_time_left_is_read_in_every_form(text, seconds):
    assert seconds_left(text) == seconds


def test_of_several_jobs_the_one_with_nodes_tells_most_then_one_that_waits_then_the_newest():
    queue = queued_jobs(PRINTED)
    assert most_telling(["45_3", "43", "41"], queue) is queue["41"]
    assert most_telling(["45_3", "43", "42"], queue) is queue["43"]
    assert most_telling(["45_3", "9"], queue) is queue["45_3"]
    assert most_telling(["8", "9"], queue) is None


def test_of_a_chain_the_link_whose_turn_it_is_tells_most():
    chain = queued_jobs("53|PENDING|N/A|1:00:00|1:00:00||/h|Dependency\n52|PENDING|N/A|1:00:00|1:00:00||/h|Priority\n")
    assert most_telling(["53", "52"], chain) is chain["52"]


@pytest.mark.parametrize("journal,job,attempts,state", [
    ("interrupted", "PENDING", 0, "queued"), ("yielded", "PENDING", 2, "queued"),
    ("interrupted", "RUNNING", 0, "starting"), ("yielded", "RUNNING", 2, "restarting"),
    ("yielded", "COMPLETING", 2, "restarting"),
    ("finished", "COMPLETING", 1, "finished"), ("failed", "RUNNING", 1, "failed"), ("finished", "PENDING", 1, "queued"),
    ("interrupted", "NODE_FAIL", 1, "interrupted"), ("yielded", "REQUEUE_HOLD", 1, "queued")])
def test_a_run_that_nobody_holds_is_queued_or_starts_if_its_job_says_so(journal, job, attempts, state):
    assert state_of_run(journal, QueuedJob("1", job), attempts=attempts) == state


def test_without_a_job_the_journal_has_the_word():
    assert state_of_run("yielded", None, attempts=1) == "yielded"


@pytest.mark.parametrize("reason,words", [
    ("Priority", "jobs of higher priority go first (Priority)"),
    ("", "the scheduler has not looked at it yet"),
    ("ReqNodeNotAvail, UnavailableNodes:node[1-2]", "(ReqNodeNotAvail, UnavailableNodes:node[1-2])"),
    ("Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority partitions",
     "nodes that it needs"),
    ("JobHeldUser", "`scontrol release 42`"),
    ("QOSMaxJobsPerUserLimit", "you have reached a limit of its QOS for one person"),
    ("QOSGrpNodeLimit", "its group has reached a limit of its QOS"),
    ("AssocGrpGRES", "its group has reached a limit of its account"),
    ("AssocMaxWallDurationPerJobLimit", "it asks for more than its account allows"),
    ("QOSMinGRES", "a limit of its QOS is reached"),
    ("launch failed requeued held", "`scontrol release 42`"),
    ("SomethingNewIn2031", "Slurm says SomethingNewIn2031")])
def test_a_reason_is_told_in_plain_words_and_as_slurm_calls_it(reason, words):
    assert words in in_words(reason, "42")
    assert reason in in_words(reason, "42")
