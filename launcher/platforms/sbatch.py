"""The sbatch command of a recipe: flags from its `slurm` and `cluster` sections, then what the script is given. Pure.

A flag that is not given stays the batch script's: sbatch takes the command line before the script's own lines.
"""

from collections.abc import Mapping, Sequence

from launcher.core.recipe_running import ClusterWish, SlurmOptions

PYTHON = "LAUNCHER_PYTHON"
"""Which Python the batch script takes, by its environment."""


def sbatch_command(script: str, name: str, log: str, slurm: SlurmOptions, nodes: int, gpus_per_node: int | None,
                   arguments: Sequence[str]) -> list[str]:
    """Return the command that submits a run: sbatch's flags, the script, and what the script is given."""
    named = {"job-name": name, "output": log, "nodes": nodes, "gpus-per-node": gpus_per_node,
             "partition": slurm.partition, "account": slurm.account, "qos": slurm.qos, "constraint": slurm.constraint,
             "time": None if slurm.time is None else time_limit(slurm.time)}
    more = {option.replace("_", "-"): value for option, value in slurm.extra.items()}
    return ["sbatch", "--parsable", "--export=ALL", *flags(named | more), script, *arguments]


def flags(values: Mapping[str, str | int | bool | None]) -> list[str]:
    """Return options by their long names: true stands for the bare option, None and false for none."""
    return [f"--{name}" if value is True else f"--{name}={value}" for name, value in values.items()
            if value is not None and value is not False]


def time_limit(seconds: float) -> str:
    """Return a duration as sbatch takes it, rounded up to minutes: Slurm would round down what is less than one."""
    minutes = -(-int(seconds) // 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:00"


def nodes_of(wish: ClusterWish, asked: int | None) -> int:
    """Return how many nodes to ask for: those said on the command line, else the recipe's and its spares, else one."""
    return asked or (wish.nodes or 1) + wish.spares


def job_number(printed: str) -> int:
    """Return the job's number from what `sbatch --parsable` printed: the number, and perhaps a cluster's name."""
    return int(printed.strip().splitlines()[-1].partition(";")[0])
