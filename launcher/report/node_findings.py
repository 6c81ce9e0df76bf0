"""What the facts of a job's nodes, or of this machine, mean for a run: one sentence for all that have the same. Pure.

What they mean to each other, over the network and through shared folders, is `report.between_findings`.
"""

from collections.abc import Iterator, Mapping
from itertools import chain

from launcher.core.site_facts import Machine
from launcher.report.finding import Finding, bad, by_words, note, ok, warn, who
from launcher.report.words import plural, size

OPEN_FILES = 4096
"""Ray has a few for each process and connection."""
LEAST_SPACE = {"/dev/shm": 2**30, "/tmp": 2 * 2**30}
"""For Ray's object store and NCCL's buffers; for Ray's logs and sockets."""
LOOPBACK = "127."
NEEDED = ("launcher", "torch", "deepspeed", "ray", "transformers")
"""Packages that all nodes must have, in one version."""


def machine_findings(machines: Mapping[str, Machine]) -> Iterator[Finding]:
    """Yield what the machines themselves mean."""
    if machines:
        yield from chain(_versions(machines), _gpus(machines), _cores(machines), _limits(machines), _space(machines),
                         _names(machines), _ports(machines), _internet(machines))


def agreement(machines: Mapping[str, Machine], here: str) -> Iterator[Finding]:
    """Yield where nodes and the machine of the command (which may be among them) have not the same software."""
    for package in ("python", *NEEDED):
        found = by_words({name: _version(machine, package) for name, machine in machines.items()})
        if len(found) > 1:
            words = "; ".join(f"{version} on {who(names)}" for version, names in found.items())
            yield bad(f"{package} is not the same everywhere: {words}",
                      "workers of one run exchange pickled letters and tensors, and resume each other's checkpoints",
                      f"all nodes must see one environment, as {here} does: put it on a shared file system")
    if here in machines:
        yield from _hub({name: machine for name, machine in machines.items() if name != here}, machines[here])


def _hub(nodes: Mapping[str, Machine], here: Machine) -> Iterator[Finding]:
    lacking = {name: f"{machine.hub_entries} models and datasets in {machine.hub_cache}" for name, machine in
               nodes.items() if machine.hub_entries < here.hub_entries}
    for words, names in by_words(lacking).items():
        yield warn(f"{who(names)}: {words}, and {here.hub_entries} on {here.name}", "a job that has no way out takes "
                   "what the Hugging Face cache holds", "set HF_HOME to a folder that all nodes see")
    if nodes and not lacking:
        yield note(f"all nodes see {here.hub_entries} models and datasets in the Hugging Face cache {here.hub_cache}")


def _version(machine: Machine, package: str) -> str:
    return machine.python if package == "python" else machine.versions.get(package, "")


def _versions(machines: Mapping[str, Machine]) -> Iterator[Finding]:
    lacking = {name: ", ".join(package for package in NEEDED if not machine.versions.get(package))
               for name, machine in machines.items()}
    for missing, names in by_words(lacking).items():
        yield bad(f"{who(names)}: {missing} not installed", "workers import it",
                  "install launcher again where all nodes see it")
    found = {", ".join(f"{package} {_version(machine, package)}" for package in ("python", *NEEDED))
             for machine in machines.values()}
    if not any(lacking.values()) and len(found) == 1:
        yield ok(found.pop())


def _gpus(machines: Mapping[str, Machine]) -> Iterator[Finding]:
    short = {name: f"{machine.gpus_given} given by Slurm, {len(machine.gpus)} seen" for name, machine in
             machines.items() if machine.gpus_given > len(machine.gpus)}
    for words, names in by_words(short).items():
        yield bad(f"{who(names)}: GPUs: {words}", "a worker without its GPU does not start",
                  "look at `nvidia-smi` on the node; exclude it (--exclude) and tell the administrators")
    kinds = by_words({name: _gpu_words(machine) for name, machine in machines.items()})
    drivers = by_words({name: ", ".join(sorted({gpu.driver for gpu in machine.gpus}))
                        for name, machine in machines.items()})
    if len(drivers) > 1:
        words = "; ".join(f"{driver} on {who(names)}" for driver, names in drivers.items())
        yield warn(f"GPU drivers differ: {words}", "NCCL and CUDA may fail between them, or be slower",
                   "keep such nodes apart with --constraint or --exclude")
    if len(kinds) > 1:
        words = "; ".join(f"{kind} on {who(names)}" for kind, names in kinds.items())
        yield warn(f"nodes have not the same GPUs: {words}", "the slowest or smallest one sets the pace for all",
                   "ask for one kind with --constraint or --gres")
    elif any(machine.gpus for machine in machines.values()):
        yield ok(f"GPUs of each machine: {next(iter(kinds))}")
    else:
        yield note("no GPU was seen", "workers run on CPU cores",
                   "where a cluster has some, ask for them: --option gpus-per-node=8")


def _gpu_words(machine: Machine) -> str:
    kinds = [f"{gpu.name} of {size(gpu.memory)}" for gpu in machine.gpus]
    return ", ".join(f"{kinds.count(kind)} x {kind}" for kind in sorted(set(kinds))) or "none"


def _cores(machines: Mapping[str, Machine]) -> Iterator[Finding]:
    words = {name: f"{plural(machine.cores, 'core')}, "
                   f"{'memory not limited' if machine.memory is None else size(machine.memory) + ' of memory'}"
             for name, machine in machines.items()}
    for told, names in by_words(words).items():
        yield ok(f"{who(names)}: {told}")
    few = [name for name, machine in machines.items() if machine.cores < len(machine.gpus)]
    if few:
        yield warn(f"{who(few)}: fewer cores than GPUs", "workers wait for each other's cores",
                   "ask for them: --exclusive or --cpus-per-task (in a recipe: slurm: {extra: {exclusive: true}})")


def _limits(machines: Mapping[str, Machine]) -> Iterator[Finding]:
    few = {name: str(machine.open_files) for name, machine in machines.items()
           if machine.open_files is not None and machine.open_files < OPEN_FILES}
    for most, names in by_words(few).items():
        yield warn(f"{who(names)}: a process may open {most} files", "Ray fails in strange ways when they are used up",
                   f"`ulimit -n {OPEN_FILES * 16}` before submitting: Slurm passes limits on")
    locked = {name: size(machine.locked_memory) for name, machine in machines.items()
              if machine.gpus and machine.locked_memory is not None}
    for most, names in by_words(locked).items():
        yield warn(f"{who(names)}: a process may lock {most} of memory", "InfiniBand needs memory that is locked",
                   "`ulimit -l unlimited` before submitting, or ask the administrators (memlock)")
    if not few and not locked:
        yield ok("limits of open files and locked memory are high enough")


def _space(machines: Mapping[str, Machine]) -> Iterator[Finding]:
    for folder, least in LEAST_SPACE.items():
        free = {name: machine.space.get(folder, 0) for name, machine in machines.items()}
        short = {name: size(left) for name, left in free.items() if left < least}
        for left, names in by_words(short).items():
            yield warn(f"{who(names)}: {left} free in {folder}", f"Ray and NCCL use up to {size(least)} there",
                       "free some, or ask for other nodes (--exclude)")
        if not short:
            yield ok(f"{folder} has {size(min(free.values()))} free or more")


def _names(machines: Mapping[str, Machine]) -> Iterator[Finding]:
    odd = {name: f"its own name stands for {machine.own_address or 'no address'}" for name, machine in machines.items()
           if machine.own_address.startswith(LOOPBACK) or not machine.own_address}
    for words, names in by_words(odd).items():
        yield note(f"{who(names)}: {words}", "other tools take that for its address; launcher asks for the way to "
                   "the other nodes instead")


def _ports(machines: Mapping[str, Machine]) -> Iterator[Finding]:
    full = [name for name, machine in machines.items() if machine.block is None]
    if full:
        yield bad(f"{who(full)}: no 240 ports in a row are free between 20000 and 32000", "Ray gets a block of ports "
                  "for each job", "`ss -ltnp` shows who has them")
    else:
        yield ok("a block of free ports for Ray is there")


def _internet(machines: Mapping[str, Machine]) -> Iterator[Finding]:
    ways = {name: "a way to huggingface.co" if machine.internet else "no way to huggingface.co"
            for name, machine in machines.items()}
    for words, names in by_words(ways).items():
        offline = ", which HF_HUB_OFFLINE forbids" if all(machines[name].offline for name in names) else ""
        if words.startswith("no"):
            yield note(f"{who(names)}: {words}", "models and data must be there before a job begins",
                       "`launcher prepare RECIPE` where there is one")
        else:
            yield note(f"{who(names)}: {words}{offline}")
