"""What Slurm says in the environment of a job and of its tasks, and a job in its controller's: the one table of names.
Pure.

Numbers come from the allocation and never from the host, of which a job may have a small part.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from launcher.core.errors import UserError

JOB, NODES, NODE_LIST, END = "SLURM_JOB_ID", "SLURM_JOB_NUM_NODES", "SLURM_JOB_NODELIST", "SLURM_JOB_END_TIME"
ARRAY, TASK = "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID"
RESTARTS = "SLURM_RESTART_COUNT"
NODE, NODE_NAME = "SLURM_NODEID", "SLURMD_NODENAME"
CORES, GPUS = "SLURM_JOB_CPUS_PER_NODE", "SLURM_GPUS_ON_NODE"
MEMORY, MEMORY_OF_A_CORE = "SLURM_MEM_PER_NODE", "SLURM_MEM_PER_CPU"
ALL_GPUS, GPUS_PER_NODE = "SLURM_GPUS", "SLURM_GPUS_PER_NODE"
"""What was asked for, with --gpus for the whole job, or for each node."""
NODES_MAY_COME = "LAUNCHER_NODES_MAY_COME"
"""Said to the controller of a job: it had all its nodes, so one that is missing is lost, and nobody asked for too many.
"""
_MIB = 2**20


@dataclass(frozen=True, slots=True)
class Allocation:
    """The job, as its batch script sees it."""

    job: int
    nodes: int
    node_list: str
    """Slurm's short form: `host_names` has the names."""
    handle: str
    """What Slurm's commands call it: the number alone may stand for all tasks of a job array."""
    task: int | None
    """Its number in a job array."""
    restarts: int = 0
    """How often it was queued again."""


@dataclass(frozen=True, slots=True)
class Share:
    """What the job has of one node."""

    node: int
    """Counted from 0, in the order of the node list."""
    name: str
    cores: int
    gpus: int
    memory: int | None
    """Bytes; None where Slurm does not account for memory."""


def allocation(environment: Mapping[str, str], shown: Mapping[str, str]) -> Allocation:
    """Return the job that this is, by its environment and what `scontrol` shows of it, if anything. Raises UserError
    outside of a job."""
    try:
        # Typed within a job, sbatch hands that job's place in an array and its restarts down to another one.
        known = {ARRAY: shown.get("ArrayJobId"), TASK: shown.get("ArrayTaskId"), RESTARTS: shown.get("Restarts")}
        own = known if shown else environment
        task = own.get(TASK)
        handle = environment[JOB] if task is None else f"{own[ARRAY]}_{task}"
        return Allocation(int(environment[JOB]), int(environment[NODES]), environment[NODE_LIST], handle,
                          None if task is None else int(task), int(own.get(RESTARTS) or 0))
    except KeyError as error:
        raise UserError(f"{error.args[0]} is not set, so this is no job of Slurm: submit the script with "
                        "`sbatch --nodes=2 train.sbatch RECIPE`, or type `launcher submit RECIPE --on slurm`") from None


def outside(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for a job of its own, also from within another job, whose task or step it would be."""
    inside = JOB in environment
    return {name: value for name, value in environment.items()
            if not (inside and name.startswith("SLURM_") and name != "SLURM_CONF")}


def of_steps(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment in which srun starts a step of the job."""
    if ALL_GPUS not in environment:
        return dict(environment)
    # srun would ask for the GPUs of the whole job in each step: too many for one node, and as few as one of the first
    # where it deals them out.
    kept = {name: value for name, value in environment.items() if name != ALL_GPUS}
    return kept | {GPUS_PER_NODE: environment.get(GPUS, "0")}


def refuse_uneven_gpus(environment: Mapping[str, str]) -> None:
    """Raise UserError if --gpus left the dealing out of GPUs to Slurm, and nodes have different numbers of them."""
    asked = re.search(r"\d+$", environment.get(ALL_GPUS, ""))
    nodes, here = int(environment[NODES]), int(environment.get(GPUS) or 0)
    if asked and int(asked[0]) != nodes * here:
        raise UserError(f"--gpus={environment[ALL_GPUS]}: the first of {nodes} nodes has {here} of them; "
                        "ask for as many of each with --gpus-per-node")


def share(environment: Mapping[str, str]) -> Share:
    """Return what the job has of the node on which this task runs."""
    node = int(environment[NODE])
    cores = per_node(environment[CORES])
    mine = cores[min(node, len(cores) - 1)]
    return Share(node, environment[NODE_NAME], mine, int(environment.get(GPUS) or 0), _memory(environment, mine))


def too_few_cores(environment: Mapping[str, str], workers: int) -> str:
    """Return what to tell the person whose job has fewer cores on a node than workers; nothing if there are enough.

    Slurm gives a task one core unless it is asked for more, however many GPUs the task has.
    """
    least = min(per_node(environment[CORES]))
    wanted = max(workers, int(environment.get(GPUS) or 0))
    if least >= wanted:
        return ""
    return (f"the job has {least} of a node's cores for {wanted} workers, which will wait for each other; ask for more "
            "with --cpus-per-task or --exclusive (in a recipe: slurm: {exclusive: true})")


def per_node(numbers: str) -> list[int]:
    """Return the number of each node from Slurm's short form: `16(x2),8` is 16, 16, 8."""
    found = re.findall(r"(\d+)(?:\(x(\d+)\))?", numbers)
    return [int(number) for number, times in found for _ in range(int(times or 1))]


def end_of(environment: Mapping[str, str], job: Mapping[str, str]) -> float | None:
    """Return when the allocation ends, in UTC seconds, from the environment or what `scontrol` shows of the job."""
    told = environment.get(END) or job.get("EndTime", "")
    return float(told) if told.isdigit() else None


def start_of(job: Mapping[str, str]) -> float | None:
    """Return when the allocation began, in UTC seconds."""
    return _moment(job, "StartTime")


def submitted(job: Mapping[str, str]) -> float | None:
    """Return when the job was submitted, in UTC seconds."""
    return _moment(job, "SubmitTime")


def _moment(job: Mapping[str, str], name: str) -> float | None:
    told = job.get(name, "")
    return float(told) if told.isdigit() else None


def _memory(environment: Mapping[str, str], cores: int) -> int | None:
    # Zero asks for all of a node, and does not say how much that is.
    if of_node := int(environment.get(MEMORY) or 0):
        return of_node * _MIB
    return int(environment.get(MEMORY_OF_A_CORE) or 0) * cores * _MIB or None
