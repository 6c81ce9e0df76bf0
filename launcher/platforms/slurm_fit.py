"""Whether a partition can ever give a job what its sbatch command asks for, from what `sinfo` prints. Pure.

Decides what counts as asked for: sbatch's flags, else its variables. A site's plugin may still move the job elsewhere,
so what does not fit here is a doubt, and Slurm is asked about it (`slurm_asking`).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

from launcher.core.site_facts import Partition
from launcher.core.suggestions import did_you_mean

SINFO = ("sinfo", "--noheader", "--exact", "--format=%R|%D|%c|%G")
"""Nodes of one partition and one kind in a line: partition, how many, CPUs of each, and what GPUs."""
GPUS = ("gpus-per-node", "gpus", "gpus-per-task", "gres", "tres-per-node")
"""Options that may ask for GPUs."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a job asks for, as far as it can be compared."""

    partitions: tuple[str, ...] = ()
    """Any of which will do; none for the default one."""
    nodes: int = 1
    cpus: int = 1
    """Of each node."""
    gpus: int | None = 0
    """Of each node; None where it asks in a way that is not counted here."""
    whole_nodes: bool = False
    qos: bool = False
    """It names a QOS, which may allow more nodes than the partition does."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Nodes of a partition that are alike."""

    partition: str
    nodes: int
    cpus: int
    gpus: int


def request(command: Sequence[str], environment: Mapping[str, str]) -> Request:
    """Return what an sbatch command asks for; flags go before variables."""
    # What follows the script is the script's.
    flags = takewhile(lambda word: word.startswith("--"), command[1:])
    said = {name: value for name, _, value in (flag.removeprefix("--").partition("=") for flag in flags)}

    def of(option: str) -> str:
        return said.get(option) or environment.get(f"SBATCH_{option.upper().replace('-', '_')}", "")

    return Request(partitions=tuple(filter(None, of("partition").split(","))), nodes=_count(of("nodes")) or 1,
                   cpus=_count(of("cpus-per-task")) or 1, gpus=_gpus({option: of(option) for option in GPUS}),
                   whole_nodes="exclusive" in said or "SBATCH_EXCLUSIVE" in environment, qos=bool(of("qos")))


def kinds(printed: str) -> list[Kind]:
    """Return what `sinfo` printed; lines that are something else are left out."""
    found = (re.fullmatch(r"(\S+)\|(\d+)\|(\d+)\+?\|(.*)", line.strip()) for line in printed.splitlines())
    return [Kind(line[1], int(line[2]), int(line[3]), _gres(line[4])) for line in found if line]


def misfit(asked: Request, known: Sequence[Partition], there: Sequence[Kind]) -> str:
    """Return why no partition that a job names can ever run it, and what to change; nothing if one can, or if it is
    not known."""
    by_name = {partition.name: partition for partition in known}
    for name in asked.partitions:
        if by_name and name not in by_name:
            return f"there is no partition {name}; {did_you_mean(name, by_name)} (--set slurm.partition=P)"
    names = asked.partitions or tuple(partition.name for partition in known if partition.default)
    found = [_misfit_of(by_name[name], asked, [kind for kind in there if kind.partition == name])
             for name in names if name in by_name]
    return "; ".join(found) if found and all(found) else ""


def _misfit_of(partition: Partition, asked: Request, there: Sequence[Kind]) -> str:
    capped = partition.max_nodes is not None and not asked.qos
    most = min(partition.nodes, partition.max_nodes or 0) if capped else partition.nodes
    if asked.nodes > most:
        return (f"a job of partition {partition.name} has {_several(most, 'node')} at most, and this one asks for "
                f"{asked.nodes}: take fewer (--nodes, or cluster.nodes in the recipe) or another partition "
                "(--set slurm.partition=P)")
    for field, each, wanted, has in (
            ("slurm.cpus_per_task", "CPU", asked.cpus, lambda kind: kind.cpus),
            ("cluster.gpus_per_node", "GPU", asked.gpus or 0, lambda kind: kind.gpus)):
        enough = sum(kind.nodes for kind in there if has(kind) >= wanted)
        if there and wanted and enough < asked.nodes:
            return (f"partition {partition.name} has {_several(enough, 'node')} with {_several(wanted, each)} or more, "
                    f"and this job asks for {asked.nodes} (the largest has {max(map(has, there))}): change {field}, or "
                    "take another partition (--set slurm.partition=P)")
    return ""


def workers_of(asked: Request, nodes: int) -> int | None:
    """Return how many workers run on so many nodes of the job by default; None if that is not known before."""
    if asked.gpus is None:
        return None
    # Without GPUs two, as on any machine, and one where that is all the job has of a node.
    return nodes * (asked.gpus or (2 if asked.whole_nodes else min(2, asked.cpus)))


def _several(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def _gpus(said: Mapping[str, str]) -> int | None:
    if not any(said.values()):
        return 0
    only = [name for name, value in said.items() if value] == ["gpus-per-node"]
    return _count(said["gpus-per-node"].rpartition(":")[2]) if only else None


def _gres(text: str) -> int:
    """Return the GPUs in what Slurm says of a node, like `gpu:h100:8(S:0-1),nvme:1`."""
    return sum(int(count) for count in re.findall(r"(?:^|,)gpu(?::[^:,(]+)?:(\d+)", text))


def _count(text: str) -> int | None:
    match = re.match(r"\d+", text)
    return int(match[0]) if match else None
