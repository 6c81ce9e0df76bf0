"""What is read from a job's environment: as Slurm writes it, on real clusters too."""

import pytest

from launcher.core.errors import UserError
from launcher.platforms.slurm_client import fields
from launcher.platforms.slurm_environment import (
    Allocation,
    Share,
    allocation,
    end_of,
    of_steps,
    per_node,
    refuse_uneven_gpus,
    share,
    start_of,
    too_few_cores,
)

JOB = {"SLURM_JOB_ID": "42", "SLURM_JOB_NUM_NODES": "3", "SLURM_JOB_NODELIST": "node[1-3]",
       "SLURM_JOB_CPUS_PER_NODE": "16(x2),8"}
SHOWN = """JobId=42 JobName=a name of words UserId=someone(1000) JobState=RUNNING Reason=None Dependency=(null)
   StartTime=1700000000 EndTime=1700003600 Deadline=N/A NodeList=node[1-3] Comment=runs/x=1
"""


def test_a_batch_script_knows_its_allocation():
    assert allocation(JOB, {}) == Allocation(job=42, nodes=3, node_list="node[1-3]", handle="42", task=None)


def test_a_task_of_an_array_is_not_called_by_a_number_that_may_mean_all_of_them():
    of_array = allocation(JOB | {"SLURM_ARRAY_JOB_ID": "42", "SLURM_ARRAY_TASK_ID": "1"}, {})
    assert (of_array.job, of_array.handle, of_array.task) == (42, "42_1", 1)


def test_what_a_job_inherited_from_the_one_in_which_it_was_submitted_is_not_its_own():
    inherited = JOB | {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "3", "SLURM_RESTART_COUNT": "2"}
    assert allocation(inherited, fields(SHOWN)).handle == "42" and allocation(inherited, fields(SHOWN)).restarts == 0
    of_its_own = allocation(JOB, fields("JobId=42 ArrayJobId=40 ArrayTaskId=2 JobName=x Restarts=1"))
    assert (of_its_own.handle, of_its_own.task, of_its_own.restarts) == ("40_2", 2, 1)


def test_outside_of_a_job_the_person_is_told_what_to_type():
    with pytest.raises(UserError, match=r"SLURM_JOB_ID is not set.*sbatch"):
        allocation({}, {})


def test_a_node_gets_its_own_cores_and_what_the_job_has_of_its_memory():
    task = JOB | {"SLURM_NODEID": "2", "SLURMD_NODENAME": "node3", "SLURM_MEM_PER_NODE": "4000",
                  "SLURM_GPUS_ON_NODE": "4"}
    assert share(task) == Share(node=2, name="node3", cores=8, gpus=4, memory=4000 * 2**20)


@pytest.mark.parametrize("memory,bytes_", [({}, None), ({"SLURM_MEM_PER_NODE": "0"}, None),
                                           ({"SLURM_MEM_PER_CPU": "100"}, 1600 * 2**20)])
def test_memory_that_slurm_does_not_count_is_not_guessed(memory, bytes_):
    found = share(JOB | {"SLURM_NODEID": "0", "SLURMD_NODENAME": "node1"} | memory)
    assert (found.cores, found.gpus, found.memory) == (16, 0, bytes_)


def test_a_step_is_not_told_the_gpus_of_the_whole_job():
    job = {"SLURM_GPUS": "a100:16", "SLURM_GPUS_ON_NODE": "8", "SLURM_JOB_NUM_NODES": "2", "HOME": "/home/me"}
    assert "SLURM_GPUS" not in of_steps(job), "one node has no 16"
    assert of_steps(job).items() >= {"SLURM_GPUS_PER_NODE": "8", "HOME": "/home/me"}.items()
    refuse_uneven_gpus(job)
    with pytest.raises(UserError, match="ask for as many of each with --gpus-per-node"):
        refuse_uneven_gpus(job | {"SLURM_GPUS": "12"})
    by_node = {"SLURM_GPUS_PER_NODE": "8", "SLURM_JOB_NUM_NODES": "2"}
    refuse_uneven_gpus(by_node)
    assert of_steps(by_node) == by_node


def test_cores_are_given_in_a_short_form():
    assert per_node("72") == [72]
    assert per_node("16(x2),8,4(x3)") == [16, 16, 8, 4, 4, 4]


def test_a_job_with_fewer_cores_than_gpus_on_its_smallest_node_is_told_how_to_get_more():
    assert "8 of a node's cores for 9 workers" in too_few_cores(JOB | {"SLURM_GPUS_ON_NODE": "9"}, 1)
    assert "for 10 workers" in too_few_cores(JOB, 10)
    assert too_few_cores(JOB | {"SLURM_GPUS_ON_NODE": "8"}, 8) == ""


def test_the_end_is_found_in_the_environment_or_in_what_scontrol_shows():
    shown = fields(SHOWN)
    assert shown["JobState"] == "RUNNING" and shown["JobName"] == "a name of words"
    assert (start_of(shown), end_of({}, shown)) == (1700000000.0, 1700003600.0)
    assert end_of({"SLURM_JOB_END_TIME": "1700007200"}, shown) == 1700007200.0


def test_a_job_without_a_limit_has_no_end():
    assert end_of({}, {"EndTime": "Unknown"}) is None and start_of({}) is None
