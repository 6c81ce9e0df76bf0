"""The site file that a doctor writes: what was tried and worked, as NAME=VALUE lines with comments. Pure.

Decides what of the facts is worth a line; what all jobs need becomes a setting, the rest is a comment.
"""

import shlex
from collections.abc import Iterator, Mapping

from launcher.core.site_facts import Job, Partition, Rules, SiteFacts

OF_OPTIONS = {"account": "SBATCH_ACCOUNT", "qos": "SBATCH_QOS", "constraint": "SBATCH_CONSTRAINT"}
"""Options of the doctor's job that every job needs, by what sbatch calls them in its environment."""
SLOW_FOLDER, LATE_WARNING_S, EARLY_WARNING_S = 100e6, 180, 600
"""Where less is written in a second, a save needs more time than the batch script's own warning leaves."""


def learnt(site: SiteFacts, options: Mapping[str, object], cache: str) -> str:
    """Return the text of a site file."""
    worked = [job for job in site.jobs if job.machines and not job.problem and not job.silent]
    lines = ["# What `launcher doctor` learnt of this cluster; change what is wrong. How such a file is used and what",
             "# else it may hold: slurm/sites/example.env.", *(_rules(site.rules) if site.rules else ())]
    for partition in site.partitions:
        lines += _partition(site.rules, partition)
    for job in worked:
        lines += _job(job)
    if worked:
        lines += _network(worked)
        settings = _places(site, worked, cache) | _slurm(site, worked, options)
        lines += ["", *(f"{name}={shlex.quote(value)}" for name, value in settings.items())]
    else:
        lines += ["", "# No job ran on all its nodes, so nothing is set."]
    return "\n".join(lines) + "\n"


def _rules(rules: Rules) -> Iterator[str]:
    requeue = {True: "may be queued again", False: "are queued again only where they ask for it (train.sbatch does)",
               None: "may or may not be queued again"}[rules.requeue]
    wait = "an unknown time" if rules.kill_wait_s is None else f"{rules.kill_wait_s:.0f} s"
    yield f"# Slurm {rules.version}: jobs {requeue}; {wait} between SIGTERM and SIGKILL."


def _partition(rules: Rules | None, partition: Partition) -> Iterator[str]:
    pushed = rules is not None and rules.preempts and partition.preempt_mode != "OFF"
    mode = f"; preemption {partition.preempt_mode}, grace {partition.grace_s:.0f} s" if pushed else ""
    limit = "no time limit" if partition.max_time_s is None else f"at most {partition.max_time_s:.0f} s"
    yield f"# Partition {partition.name}: {limit}{mode}."


def _job(job: Job) -> Iterator[str]:
    kinds = {f"{len(machine.gpus)} x {machine.gpus[0].name}" if machine.gpus else "no GPU"
             for machine in job.machines.values()}
    yield f"# Tried on {', '.join(job.names)}: {' or '.join(sorted(kinds))}."


def _places(site: SiteFacts, jobs: list[Job], cache: str) -> dict[str, str]:
    found: dict[str, str] = {}
    if all(machine.executable == site.here.executable for job in jobs for machine in job.machines.values()):
        found["LAUNCHER_PYTHON"] = site.here.executable
    seen = [folder for job in jobs for each in job.folders.values() for folder in each if folder.path == cache]
    if seen and all(folder.bytes_s is not None and not folder.unseen for folder in seen):
        found["LAUNCHER_CACHE"] = cache
    return found


def _network(jobs: list[Job]) -> Iterator[str]:
    """Yield comments only: what is found on each node anew is right on nodes that were not looked at, too."""
    interfaces = {found.interface for job in jobs for each in job.reductions.values() for found in each
                  if found.interface and found.right and not found.problem}
    if interfaces:
        yield f"# Nodes reach each other over {', '.join(sorted(interfaces))}; launcher finds that out by itself."
    if len(interfaces) == 1:
        yield "# NCCL takes names by their beginning; the second = asks for exactly this one."
        yield f"#NCCL_SOCKET_IFNAME=={interfaces.pop()}"


def _slurm(site: SiteFacts, jobs: list[Job], options: Mapping[str, object]) -> dict[str, str]:
    partitions = {job.partition for job in jobs} - {""} or {partition.name for partition in site.partitions}
    found = {"SBATCH_PARTITION": ",".join(sorted(partitions))}
    found |= {name: str(options[option]) for option, name in OF_OPTIONS.items() if option in options}
    speeds = [folder.bytes_s for job in jobs for each in job.folders.values() for folder in each if folder.bytes_s]
    warned_s = EARLY_WARNING_S if speeds and min(speeds) < SLOW_FOLDER else LATE_WARNING_S
    # What is warned of earlier than half of the longest job would be warned of at its start.
    longest = min((partition.max_time_s for partition in site.partitions if partition.max_time_s), default=None)
    if longest is not None:
        warned_s = min(warned_s, max(60, int(longest / 2)))
    return found | {"SBATCH_SIGNAL": f"B:USR1@{warned_s}"}
