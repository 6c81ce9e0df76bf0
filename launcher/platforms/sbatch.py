"""The sbatch command of a recipe: flags from its `slurm` and `cluster` sections, then what the script is given. Pure.

A flag that is not given stays the batch script's: sbatch takes the command line before the script's own lines.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from launcher.core.recipe_running import ClusterWish, SlurmOptions
from launcher.platforms.slurm_client import Unsure


@dataclass(frozen=True, slots=True)
class JobFlags:
    """What a job is besides what its recipe says under `slurm`."""

    name: str
    log: str
    """With sbatch's own signs for the job's number."""
    folder: str
    """In which the job works."""
    nodes: int
    gpus_per_node: int | None
    exclude: tuple[str, ...] = ()
    """Nodes that have failed the run too often."""
    tasks: int = 1
    """Runs, each a task of a job array if there are several."""


def sbatch_command(script: str, job: JobFlags, slurm: SlurmOptions, arguments: Sequence[str]) -> list[str]:
    """Return the command that submits a job: sbatch's flags, the script, and what the script is given."""
    named = {"job-name": job.name, "output": job.log, "chdir": job.folder, "nodes": job.nodes,
             "gpus-per-node": job.gpus_per_node, "array": f"0-{job.tasks - 1}" if job.tasks > 1 else None,
             "partition": slurm.partition, "account": slurm.account, "qos": slurm.qos, "constraint": slurm.constraint,
             "reservation": slurm.reservation, "time": time_limit(slurm.time), "time-min": time_limit(slurm.time_min),
             "exclusive": slurm.exclusive, "cpus-per-task": slurm.cpus_per_task,
             "exclude": ",".join(filter(None, (slurm.exclude, *job.exclude))) or None}
    more = {option.replace("_", "-"): value for option, value in slurm.extra.items()}
    if more.get("requeue") is False:  # The script asks for it, and leaving it out would leave it so.
        more["no-requeue"] = True
    return ["sbatch", "--parsable", "--export=ALL", *flags(named | more), script, *arguments]


def flags(values: Mapping[str, str | int | bool | None]) -> list[str]:
    """Return options by their long names: true stands for the bare option, None and false for none."""
    return [f"--{name}" if value is True else f"--{name}={value}" for name, value in values.items()
            if value is not None and value is not False]


def time_limit(seconds: float | None) -> str | None:
    """Return a duration as sbatch takes it, rounded up to minutes: Slurm would round down what is less than one."""
    if seconds is None:
        return None
    minutes = -(-int(seconds) // 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:00"


def nodes_of(wish: ClusterWish, asked: int | None) -> int:
    """Return how many nodes to ask for: those said on the command line, else the recipe's and its spares, else one."""
    return asked or (wish.nodes or 1) + wish.spares


def job_number(printed: str) -> int:
    """Return the job's number from what `sbatch --parsable` printed: the number, and perhaps a cluster's name.
    Raises Unsure."""
    number = (printed.strip().splitlines() or [""])[-1].partition(";")[0]
    if not number.isdecimal():
        raise Unsure(f"sbatch printed no job's number but {printed.strip()!r}")
    return int(number)
