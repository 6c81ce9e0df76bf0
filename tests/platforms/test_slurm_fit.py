"""What a job asks for, and which partitions can ever give it that."""

import pytest

from launcher.core.site_facts import Partition
from launcher.platforms.slurm_fit import Request, kinds, misfit, request, workers_of

KNOWN = [Partition(name="low", default=True, nodes=3), Partition(name="high", nodes=64, max_nodes=4)]
THERE = kinds("low|2|4|gpu:h100:8(S:0-1),nvme:1\nlow|1|1|(null)\nhigh|64|128|gpu:a:2,gpu:b:2\na site's words\n")


def test_flags_go_before_variables_and_what_the_script_is_given_is_not_asked_for():
    command = ["sbatch", "--parsable", "--nodes=2-4", "--cpus-per-task=8", "train.sbatch", "x.yaml", "--nodes=9"]
    site = {"SBATCH_PARTITION": "a,b", "SBATCH_QOS": "long"}
    assert request(command, site) == Request(partitions=("a", "b"), nodes=2, cpus=8, qos=True)
    assert request(["sbatch", "--partition=c", "--gpus-per-node=h100:8", "--exclusive", "t"], site) == Request(
        partitions=("c",), gpus=8, whole_nodes=True, qos=True)
    assert request(["sbatch", "--gres=gpu:4", "t"], {}).gpus is None


def test_kinds_of_nodes_are_read_with_their_gpus_of_all_types():
    assert [(kind.partition, kind.nodes, kind.cpus, kind.gpus) for kind in THERE] == [
        ("low", 2, 4, 8), ("low", 1, 1, 0), ("high", 64, 128, 4)]


@pytest.mark.parametrize("asked,words", [
    (Request(nodes=4), "a job of partition low has 3 nodes at most, and this one asks for 4"),
    (Request(partitions=("high",), nodes=5), "partition high has 4 nodes at most"),
    (Request(cpus=8), "low has 0 nodes with 8 CPUs or more, and this job asks for 1 (the largest has 4)"),
    (Request(nodes=3, gpus=8), "low has 2 nodes with 8 GPUs or more"),
    (Request(partitions=("hihg",)), "there is no partition hihg; did you mean high?")])
def test_what_no_named_partition_can_give_is_told(asked, words):
    assert words in misfit(asked, KNOWN, THERE)


@pytest.mark.parametrize("asked", [
    Request(nodes=3), Request(nodes=2, cpus=4, gpus=8), Request(partitions=("low", "high"), cpus=64),
    Request(partitions=("high",), nodes=5, qos=True), Request(gpus=None)])
def test_what_one_of_them_can_give_fits(asked):
    assert misfit(asked, KNOWN, THERE) == ""


def test_where_slurm_shows_nothing_nothing_is_refused():
    assert misfit(Request(partitions=("x",), nodes=99, cpus=99), [], []) == ""


def test_workers_are_one_for_each_gpu_and_two_on_other_nodes_unless_the_job_has_one_core_of_them():
    assert workers_of(Request(gpus=8), 2) == 16 and workers_of(Request(), 2) == 2
    assert workers_of(Request(cpus=8), 2) == workers_of(Request(whole_nodes=True), 2) == 4
    assert workers_of(Request(gpus=None), 2) is None
