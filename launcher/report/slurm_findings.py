"""What Slurm's rules mean for a run. Pure.

Decides from which numbers on a rule is worth a word, and what a person can do who does not administer the cluster.
"""

from collections.abc import Iterator

from launcher.core.site_facts import Partition, Rules, SiteFacts
from launcher.report.finding import Finding, bad, note, ok, warn
from launcher.report.words import duration, plural

SAVE_S = 30.0
"""What a save may take at least: less time between a notice and the end is worth a word."""
SHORT_LIMIT_S = 1800.0
"""A limit below which much of each allocation is starting and saving."""
SLOW_REQUEUE_S = 30.0


def slurm_findings(site: SiteFacts) -> Iterator[Finding]:
    """Yield what Slurm's rules mean, those of the whole cluster first."""
    if site.rules is None:
        return
    rules = site.rules
    yield ok(f"Slurm {rules.version or 'of an unknown version'}")
    yield from (_requeueing(rules), _killing(rules), _tracking(rules))
    if rules.task_plugins and not any("cgroup" in plugin for plugin in rules.task_plugins):
        yield note("jobs are not confined to their cores, memory and GPUs (no task/cgroup)",
                   "others on the same node can take what was given to a run", "--exclusive keeps them away")
    if rules.node_timeout_s is not None:
        yield note(f"Slurm takes a silent node for dead after {duration(rules.node_timeout_s)}",
                   "a run finds out by itself, mostly sooner")
    for partition in site.partitions:
        yield from _partition(rules, partition, max(site.tiers, default=partition.tier))


def _requeueing(rules: Rules) -> Finding:
    delay = rules.requeue_delay_s or 0.0
    waits = f"; it waits {duration(delay)} before it may start again" if delay >= SLOW_REQUEUE_S else ""
    if rules.requeue is None:
        return note("Slurm does not say whether jobs may be queued again (JobRequeue)")
    if rules.requeue:
        return ok(f"a job may be queued again (JobRequeue=1){waits}")
    return warn(f"jobs are not queued again unless they ask for it (JobRequeue=0){waits}",
                "a run that is preempted or out of time goes on in its next allocation by itself only if it is",
                "train.sbatch asks (--requeue); see in `scontrol show job` whether Requeue=1 stays, else type the same "
                "command again")


def _killing(rules: Rules) -> Finding:
    if rules.kill_wait_s is None:
        return note("Slurm does not say how long it waits between SIGTERM and SIGKILL (KillWait)")
    words = f"{duration(rules.kill_wait_s)} between SIGTERM and SIGKILL (KillWait)"
    if rules.kill_wait_s >= SAVE_S:
        return ok(words)
    return warn(f"only {words}", "`scancel`, and preemption without a grace time, leave a save no more than that; "
                "what is not saved is trained again",
                "save often enough: checkpoint: {every: 5min}; stop with `launcher stop`, which waits")


def _tracking(rules: Rules) -> Finding:
    kind = rules.proctrack.rpartition("/")[2]
    if kind in ("cgroup", ""):
        return ok("Slurm holds all processes of a job together (proctrack/cgroup)") if kind else note(
            "Slurm does not say how it holds a job's processes together (ProctrackType)")
    return warn(f"Slurm finds a job's processes by {'parenthood' if kind == 'linuxproc' else 'group'} "
                f"({rules.proctrack})", "what leaves its parent may outlive a job that is killed; launcher ends its "
                "own by pid, and cannot when it is killed itself",
                "after a kill look for leftovers on the nodes; ask for proctrack/cgroup")


def _partition(rules: Rules, partition: Partition, highest: int) -> Iterator[Finding]:
    name = f"partition {partition.name}"
    if partition.state != "UP":
        yield bad(f"{name} is {partition.state}", "no job starts there", "take another one with --partition")
    most = partition.nodes if partition.max_nodes is None else min(partition.nodes, partition.max_nodes)
    limit = "no time limit" if partition.max_time_s is None else f"at most {duration(partition.max_time_s)}"
    words = f"{name}: {plural(most, 'node')} for a job at most, {limit}"
    if partition.default_time_s is not None:
        words += f", {duration(partition.default_time_s)} for a job that does not say"
    if partition.max_time_s is not None and partition.max_time_s < SHORT_LIMIT_S:
        yield warn(words, "much of each allocation goes into starting and saving", "take a longer one if there is any")
    else:
        yield ok(words)
    yield _preemption(rules, partition, highest)


def _preemption(rules: Rules, partition: Partition, highest: int) -> Finding:
    name, mode = f"partition {partition.name}", partition.preempt_mode
    by_tier = rules.preempts == "partition" and partition.tier < highest
    if not rules.preempts or mode == "OFF" or not (by_tier or rules.preempts != "partition"):
        return ok(f"{name}: its jobs are not preempted")
    if "SUSPEND" in mode or "GANG" in mode:
        return warn(f"{name}: its jobs may be suspended ({mode})", "a run that is stopped in the middle of a step "
                    "looks like a hang, and its connections may end",
                    "ask for a partition whose jobs are queued again, or not preempted")
    time = partition.grace_s + (rules.kill_wait_s or 0.0)
    early = ", and the job's early warning is sent" if rules.warns else ""
    words = f"{name}: its jobs may be preempted ({mode}) with {duration(time)} to save{early}"
    if "CANCEL" in mode:
        return warn(words, "a job that is preempted ends and is not queued again", "the same command goes on")
    if rules.preempts == "qos":
        return note(words, "a QOS may give more or less", "`sacctmgr show qos format=name,preemptmode,gracetime` says")
    if time < SAVE_S:
        return warn(words, "a save that takes longer is lost, and its steps are trained again",
                    "save often enough: checkpoint: {every: 5min}")
    return ok(words)
