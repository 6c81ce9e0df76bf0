"""The plan of an attempt: ranks, micro-batches and the filled DeepSpeed configuration on the machines that are there.

Decides how a plan runs on a cluster, never what is trained: that is the plan's. Refuses a cluster that does not fit,
with what is needed against what is present.
"""

from typing import Any, Literal

from launcher.core.architectures import facts_of, hidden_size_of
from launcher.core.attempt import AttemptPlan, Cluster, RankPlace
from launcher.core.dealing import micro_batches
from launcher.core.ds_config import fill
from launcher.core.errors import NodesMissing, Problem, Unplannable
from launcher.core.memory_try import Place, largest_fitting, sizes
from launcher.core.recipe_running import ClusterWish
from launcher.core.run_plan import RunPlan, SegmentPlan, StagePlan
from launcher.core.speed_checks import device_problem
from launcher.core.yaml_tree import dotted


def plan_attempt(plan: RunPlan, wish: ClusterWish, cluster: Cluster, *, attempt: int,
                 micro_batch: int | Literal["auto"], device: Literal["cpu", "cuda"],
                 resume: int | None) -> AttemptPlan:
    """Return the orders of one attempt. Raises Unplannable when the cluster is too small for the wish."""
    _refuse_unfit(wish, cluster)
    if device == "cpu" and plan.model.attention == "flash_attention_2":
        raise Unplannable([Problem("", "model.attention", "flash_attention_2 needs a GPU and there is none here; "
                                   "say --set model.attention=sdpa")])
    if (unfit := device_problem(plan.model, device)) is not None:
        raise Unplannable([Problem("", dotted(unfit[0]), unfit[1])])
    ranks = _ranks(wish, cluster)
    world_size = len(ranks)
    segment = segment_at(plan, resume)
    rows = _micro_batch(plan, segment, cluster, ranks, micro_batch, device)
    return AttemptPlan(
        attempt=attempt, plan=plan.chain(), cluster=cluster, ranks=ranks, world_size=world_size,
        data_parallel=world_size, micro_batch=rows, device=device, threads=_threads(wish, cluster, ranks),
        ds_config=_ds_config(plan, segment, rows, world_size), resume=resume,
    )


def segment_at(plan: RunPlan, resume: int | None) -> SegmentPlan:
    """Return the segment of the first step of an attempt that continues from a step; of the last step, if there is no
    more to do."""
    return plan.segment_of(min((resume or 0) + 1, plan.steps))


def at_segment(plan: RunPlan, placed: AttemptPlan, resume: int | None,
               micro_batch: int | Literal["auto"]) -> AttemptPlan:
    """Return an attempt, placed on its machines, with the engine of the segment that it goes on with."""
    segment = segment_at(plan, resume)
    rows = _micro_batch(plan, segment, placed.cluster, placed.ranks, micro_batch, placed.device)
    return placed.model_copy(update={"resume": resume, "plan": plan.chain(), "micro_batch": rows,
                                     "ds_config": _ds_config(plan, segment, rows, placed.world_size)})


def _batch(plan: RunPlan, segment: SegmentPlan) -> int:
    """Return the rows of a segment's largest step."""
    return plan.batch_of(_largest(plan, segment))


def _largest(plan: RunPlan, segment: SegmentPlan) -> StagePlan:
    return max(plan.stages_of(segment), key=plan.batch_of)


def workers_wanted(wish: ClusterWish, cluster: Cluster) -> int:
    """Return how many workers an attempt has: those asked for, else one per slot."""
    if wish.workers is not None:
        return wish.workers
    if wish.gpus_per_node is not None:
        # Between min_nodes and nodes, an attempt takes what is there.
        return wish.gpus_per_node * min(wish.nodes or len(cluster.nodes), len(cluster.nodes))
    return cluster.slots


def choose_micro_batch(rows_per_step: int, wanted: int | Literal["auto"], world_size: int) -> int:
    """Return the rows that a rank computes at once: never more than it has in a full step."""
    return sizes(rows_per_step, wanted, world_size)[0]


def _micro_batch(plan: RunPlan, segment: SegmentPlan, cluster: Cluster, ranks: tuple[RankPlace, ...],
                 wanted: int | Literal["auto"], device: Literal["cpu", "cuda"]) -> int:
    """Return the rows that a rank computes at once: on GPUs, where nobody said, as many as fit there as far as known.

    What is not known to fit is tried: `out_of_memory` says what happens then.
    """
    usual = choose_micro_batch(_batch(plan, segment), wanted, len(ranks))
    if device == "cpu":
        return usual
    facts = facts_of(plan.model, plan.tokenizer.vocab_size if plan.tokenizer else None)
    if wanted != "auto" or facts is None:
        return usual
    return largest_fitting(plan.as_of(_largest(plan, segment)), facts, place_of(cluster, ranks, "cuda")) or usual


def place_of(cluster: Cluster, ranks: tuple[RankPlace, ...], device: Literal["cpu", "cuda"]) -> Place:
    """Return the machines as far as memory goes: those of the ranks, each taken for the smallest of them."""
    used = [cluster.nodes[number] for number in sorted({place.node for place in ranks})]
    on_each = [sum(place.node == number for place in ranks) for number in range(len(cluster.nodes))]
    return Place(workers=len(ranks), nodes=len(used), workers_per_node=max(on_each), device=device,
                 gpu_bytes=min(node.gpu_memory for node in used) if device == "cuda" else 0,
                 host_bytes=min(node.memory for node in used))


def _refuse_unfit(wish: ClusterWish, cluster: Cluster) -> None:
    needed_nodes, present = wish.min_nodes or wish.nodes or 1, len(cluster.nodes)
    missing: list[Problem] = []
    if present < needed_nodes:
        needed = f"{needed_nodes} nodes are" if needed_nodes > 1 else "1 node is"
        missing.append(Problem("", "cluster.nodes", f"{needed} needed and {present or 'none'} present"))
    unfit = _unfit(wish, cluster) if cluster.nodes else []
    if unfit:
        raise Unplannable([*missing, *unfit])
    if missing:
        raise NodesMissing(missing)


def _unfit(wish: ClusterWish, cluster: Cluster) -> list[Problem]:
    """Return what the nodes that are there lack."""
    gpus_per_node = 0 if wish.workers is not None else wish.gpus_per_node or 0
    found = [Problem("", "cluster.gpus_per_node", f"{gpus_per_node} GPUs are needed on {node.name} and "
                     f"{node.slots} present") for node in cluster.nodes if node.slots < gpus_per_node]
    if workers_wanted(wish, cluster) < 1:
        found.append(Problem("", "cluster", "1 slot is needed and none is present; say --workers N to use CPU cores"))
    # Workers share cores if they must, but two workers on one GPU would wait for each other in NCCL for ever.
    gpus = sum(node.gpus for node in cluster.nodes)
    if gpus and workers_wanted(wish, cluster) > gpus:
        found.append(Problem("", "cluster.workers",
                             f"{workers_wanted(wish, cluster)} GPUs are needed and {gpus} present"))
    return found


def _ranks(wish: ClusterWish, cluster: Cluster) -> tuple[RankPlace, ...]:
    """Give each node a contiguous span of ranks: its slots first, and what is left over spread evenly."""
    places: list[RankPlace] = []
    for node, count in enumerate(_workers_per_node(wish, cluster)):
        places += [RankPlace(rank=len(places) + local, node=node, local_rank=local) for local in range(count)]
    return tuple(places)


def _workers_per_node(wish: ClusterWish, cluster: Cluster) -> list[int]:
    left, counts = workers_wanted(wish, cluster), [0] * len(cluster.nodes)
    # Who says how many machines a number of workers is for wants them on all of these.
    fair = -(-left // len(counts)) if wish.nodes is not None else left
    for most in (fair, left):
        for number, node in enumerate(cluster.nodes):
            more = min(left, max(0, min(wish.gpus_per_node or node.slots, most) - counts[number]))
            counts[number] += more
            left -= more
    # More workers than slots, which only a CPU cluster may have.
    each, more = divmod(left, len(counts))
    return [count + each + (number < more) for number, count in enumerate(counts)]


def _threads(wish: ClusterWish, cluster: Cluster, ranks: tuple[RankPlace, ...]) -> int:
    if wish.threads is not None:
        return wish.threads
    workers = [sum(place.node == number for place in ranks) for number in range(len(cluster.nodes))]
    shares = [node.cores // count for node, count in zip(cluster.nodes, workers, strict=True) if count]
    # The same on all nodes, because the number of threads decides the order of sums on a CPU.
    return max(1, min(shares))


def _ds_config(plan: RunPlan, segment: SegmentPlan, micro_batch: int, world_size: int) -> dict[str, Any]:
    return fill(
        plan.template_of(segment), micro_batch=micro_batch, world_size=world_size, precision=plan.model.precision,
        accumulation=micro_batches(_batch(plan, segment), world_size, micro_batch),
        clip=plan.stages_of(segment)[0].optimizer.clip,
        hidden_size=hidden_size_of(plan.model),
    )
