"""How a plan is laid out on the machines that are there."""

import json

import pytest

from launcher.core.attempt import Cluster, Node
from launcher.core.attempt_planning import plan_attempt
from launcher.core.errors import NodesMissing, Unplannable
from launcher.core.recipe import ModelChoice, Optimizer, Schedule
from launcher.core.recipe_running import ClusterWish
from launcher.core.run_plan import RunPlan, SegmentPlan, SourcePlan, StagePlan
from launcher.storage.shipped import shipped


def run_plan(rows_per_step=6):
    stage = StagePlan(index=0, name="s", first_step=1, steps=10, first_row=0, rows=10 * rows_per_step,
                      weights={"a": 1}, block=64, consumed_before={}, learning_rate=1e-3, schedule=Schedule(),
                      optimizer=Optimizer(clip=0.7))
    template = shipped("ds_configs", "zero3.json")
    assert template is not None
    return RunPlan(
        grade="exact", name="r", seed=0, adapter=None, tokenizer=None, sequence_length=64, rows_per_step=rows_per_step,
        model=ModelChoice.model_validate({"init": {"architecture": "llama", "hidden_size": 96}, "precision": "fp32",
                                          "tokenizer": {"train": {}}}),
        rows=stage.rows, steps=10, stages=(stage,), ds_template=json.loads(template.read_text()), evaluate_every=None,
        sources={"a": SourcePlan(fingerprint="", rows=50, tokens=3200, supervised_tokens=100, holdout_rows=1)},
        segments=(SegmentPlan(index=0, first_step=1, steps=10, sequence_length=64, deepspeed="", trainable="all"),),
        export_dtype="fp32", deterministic=False)


def cluster(*slots, cores=8, gpus=0):
    return Cluster(nodes=tuple(Node(name=f"n{i}", address=f"10.0.0.{i}", slots=count, cores=cores, gpus=gpus)
                               for i, count in enumerate(slots)))


def attempt(wish, machines, *, rows_per_step=6, micro_batch="auto", device="cpu"):
    return plan_attempt(run_plan(rows_per_step), ClusterWish(**wish), machines, attempt=1, micro_batch=micro_batch,
                        device=device, resume=None)


def test_each_slot_has_a_worker_and_ranks_are_contiguous_on_nodes():
    planned = attempt({}, cluster(2, 3))
    assert [(p.rank, p.node, p.local_rank) for p in planned.ranks] == [(0, 0, 0), (1, 0, 1), (2, 1, 0), (3, 1, 1),
                                                                       (4, 1, 2)]
    assert planned.world_size == planned.data_parallel == 5


@pytest.mark.parametrize(("workers", "nodes"), [(1, [1, 0]), (3, [2, 1]), (4, [2, 2]), (7, [4, 3])])
def test_workers_may_be_fewer_or_more_than_slots(workers, nodes):
    planned = attempt({"workers": workers}, cluster(2, 2, cores=2))
    assert [sum(p.node == i for p in planned.ranks) for i in range(2)] == nodes
    assert planned.threads == max(1, 2 // max(nodes))


@pytest.mark.parametrize(("workers", "slots", "nodes"), [
    (2, (2, 2), [1, 1]), (3, (2, 2), [2, 1]), (7, (2, 2), [4, 3]), (11, (4, 8), [4, 7]), (2, (2, 2, 2), [1, 1, 0])])
def test_workers_for_a_number_of_machines_are_spread_over_them(workers, slots, nodes):
    planned = attempt({"workers": workers, "nodes": len(slots)}, cluster(*slots))
    assert [sum(p.node == i for p in planned.ranks) for i in range(len(slots))] == nodes


def test_an_attempt_takes_the_nodes_that_are_there_down_to_the_least():
    wish = {"nodes": 4, "min_nodes": 2, "gpus_per_node": 2}
    assert attempt(wish, cluster(2, 2, 2, gpus=2), device="cuda").world_size == 6
    assert attempt(wish, cluster(2, 2, 2, 2, 2, gpus=2), device="cuda").world_size == 8


def test_threads_are_the_cores_of_the_node_over_its_workers():
    assert attempt({"workers": 2}, cluster(2)).threads == 4
    assert attempt({"workers": 2, "threads": 3}, cluster(2)).threads == 3


@pytest.mark.parametrize(("rows", "world", "wanted", "micro", "accumulation"), [
    (6, 2, "auto", 3, 1), (6, 4, "auto", 2, 1), (64, 2, "auto", 4, 8), (6, 4, 1, 1, 2), (6, 2, 100, 3, 1),
    (1, 3, "auto", 1, 1),
])  # fmt: skip
def test_micro_batches_cover_the_step(rows, world, wanted, micro, accumulation):
    planned = attempt({"workers": world}, cluster(world), rows_per_step=rows, micro_batch=wanted)
    config = planned.ds_config
    assert (planned.micro_batch, config["gradient_accumulation_steps"]) == (micro, accumulation)
    assert config["train_batch_size"] == micro * accumulation * world
    assert config["gradient_clipping"] == 0.7


@pytest.mark.parametrize(("wish", "machines", "needed"), [
    ({"nodes": 4}, cluster(8), "4 nodes are needed and 1 present"),
    ({"nodes": 4, "min_nodes": 2}, cluster(8), "2 nodes are needed and 1 present"),
    ({"gpus_per_node": 8}, cluster(4, gpus=4), "8 GPUs are needed on n0 and 4 present"),
    ({"workers": 3}, cluster(2, gpus=2), "3 GPUs are needed and 2 present"),
    ({}, cluster(0), "1 slot is needed and none is present"),
    ({"nodes": 2, "min_nodes": 1}, Cluster(nodes=()), "^cluster.nodes: 1 node is needed and none present$"),
])  # fmt: skip
def test_an_unfit_cluster_is_refused_with_needed_against_present(wish, machines, needed):
    with pytest.raises(Unplannable, match=needed):
        attempt(wish, machines)


@pytest.mark.parametrize(("wish", "machines", "expected"), [
    ({"nodes": 4, "gpus_per_node": 4}, cluster(4, gpus=4), NodesMissing),
    ({"nodes": 4}, Cluster(nodes=()), NodesMissing),
    ({"nodes": 4, "gpus_per_node": 8}, cluster(4, gpus=4), Unplannable),
    ({"nodes": 1, "gpus_per_node": 8}, cluster(4, gpus=4), Unplannable),
])  # fmt: skip
def test_nodes_that_are_missing_may_come_and_gpus_that_are_missing_do_not(wish, machines, expected):
    with pytest.raises(Unplannable) as raised:
        attempt(wish, machines)
    assert raised.type is expected


def test_an_attempt_survives_its_file():
    planned = attempt({"workers": 2}, cluster(2))
    assert type(planned).from_json(planned.to_json()) == planned


def test_an_attention_that_needs_a_gpu_is_refused_without_one():
    made = run_plan()
    model = made.model.model_copy(update={"attention": "flash_attention_2"})
    with pytest.raises(Unplannable, match=r"flash_attention_2 needs a GPU .* --set model\.attention=sdpa"):
        plan_attempt(made.model_copy(update={"model": model}), ClusterWish(workers=1), cluster(1), attempt=1,
                     micro_batch=1, device="cpu", resume=None)
