"""What Slurm allows, read from what `scontrol show config` and `show partition` print: the one table of their names.

Pure. Names and spellings are those of Slurm 20 to 25; what a version does not say is None.
"""

import re
from collections.abc import Mapping

from launcher.core.quantities import parse_seconds
from launcher.core.site_facts import Partition, Preemption, Rules
from launcher.platforms.slurm_client import fields

NOTHING = ("", "(null)", "N/A", "n/a", "NONE", "None", "UNLIMITED", "INFINITE")
CRED_EXPIRE_S = 120.0
"""Slurm's own, where the site says nothing; a job that was queued again waits a second longer."""
WARNINGS = ("send_user_signal", "preempt_send_user_signal")
"""In PreemptParameters, or before Slurm 23 in SlurmctldParameters."""


def config_fields(shown: str) -> dict[str, str]:
    """Return what `scontrol show config` says, by name."""
    pairs = (re.match(r"\s*(\S+)\s+=\s?(.*)", line) for line in shown.splitlines())
    return {pair[1]: pair[2].strip() for pair in pairs if pair}


def rules(shown: str) -> Rules:
    """Return the rules of the whole cluster."""
    said = config_fields(shown)
    requeue = said.get("JobRequeue", "")
    return Rules(version=said.get("SLURM_VERSION", ""), requeue=None if requeue in NOTHING else requeue == "1",
                 kill_wait_s=_count(said.get("KillWait")), preempts=_preempts(said.get("PreemptType", "")),
                 warns=any(word in _words(said, "PreemptParameters", "SlurmctldParameters") for word in WARNINGS),
                 proctrack=_value(said.get("ProctrackType")), task_plugins=_words(said, "TaskPlugin"),
                 node_timeout_s=_count(said.get("SlurmdTimeout")), requeue_delay_s=_requeue_delay(said))


def partitions(shown: str) -> list[Partition]:
    """Return the partitions from what `scontrol --oneliner show partition` prints, one in a line."""
    return [_partition(fields(line)) for line in shown.splitlines() if line.startswith("PartitionName=")]


def _partition(said: Mapping[str, str]) -> Partition:
    most = said.get("MaxNodes", "")
    return Partition(name=said["PartitionName"], default=said.get("Default") == "YES", state=said.get("State", "UP"),
                     nodes=int(_count(said.get("TotalNodes")) or 0), max_nodes=int(most) if most.isdigit() else None,
                     max_time_s=_limit(said.get("MaxTime")),
                     default_time_s=_limit(said.get("DefaultTime")),
                     grace_s=_count(said.get("GraceTime")) or 0.0, preempt_mode=said.get("PreemptMode", "OFF"),
                     # Before Slurm 16 and in some dumps of later ones the tier is called Priority.
                     tier=int(_count(said.get("PriorityTier", said.get("Priority"))) or 1))


def _preempts(kind: str) -> Preemption:
    known: dict[str, Preemption] = {"": "", "none": "", "partition_prio": "partition", "qos": "qos"}
    return known.get(_value(kind).rpartition("/")[2], "other")


def _requeue_delay(said: Mapping[str, str]) -> float:
    match = re.search(r"cred_expire=(\d+)", said.get("AuthInfo", ""))
    return (float(match[1]) if match else CRED_EXPIRE_S) + 1.0


def _limit(text: str | None) -> float | None:
    """Return a limit in seconds from `2-00:00:00` or `12:00:00`, which is how Slurm shows them."""
    return float(parse_seconds(_value(text))) if _value(text) else None


def _value(text: str | None) -> str:
    return "" if text is None or text in NOTHING else text


def _words(said: Mapping[str, str], *names: str) -> tuple[str, ...]:
    return tuple(word.strip() for name in names for word in _value(said.get(name)).split(",") if word.strip())


def _count(text: str | None) -> float | None:
    """Return the number that a value like `30 sec` begins with."""
    match = re.match(r"\d+", text or "")
    return float(match[0]) if match else None
