"""Slurm's reasons for letting a job wait, in plain words, with what a person can do where there is something. Pure."""

import re

REASONS = {
    "Priority": "jobs of higher priority go first",
    "Resources": "as many nodes as it asks for are not free yet",
    "None": "the scheduler has not looked at it yet",
    "WaitingForScheduling": "the scheduler has not looked at it yet",
    "BeginTime": "it may not begin earlier; a job that was queued again waits about two minutes",
    "Cleaning": "its last allocation is still being cleared up",
    "Prolog": "the site's prolog runs",
    "Dependency": "the jobs that it depends on have not ended",
    "DependencyNeverSatisfied": "what it depends on can never happen any more; cancel it and submit again",
    "JobHeldUser": "it is held; `scontrol release {job}` lets it go",
    "JobHeldAdmin": "it is held by Slurm or an administrator, as after several starts that failed; ask them",
    "job_requeued_in_held_state": "it was queued again and is held; `scontrol release {job}` lets it go",
    "launch_failed_requeued_held": "it could not be started on its nodes and is held; `scontrol release {job}` tries "
                                   "again",
    "JobLaunchFailure": "it could not be started on its nodes",
    "JobArrayTaskLimit": "as many tasks of its array as may run at a time do",
    "PartitionDown": "its partition is down",
    "PartitionInactive": "its partition is inactive",
    "PartitionNodeLimit": "it asks for more nodes than its partition gives, or these are down; see "
                          "`scontrol show partition`",
    "PartitionTimeLimit": "it asks for more time than its partition gives; see `scontrol show partition`",
    "PartitionConfig": "it asks for what its partition does not have; see `scontrol show partition`",
    "AccountNotAllowed": "its account may not use this partition",
    "QOSNotAllowed": "its QOS may not be used in this partition",
    "InvalidAccount": "its account is not valid",
    "InvalidQOS": "its QOS is not valid",
    "BadConstraints": "no node can be what it asks for; see its constraint, GPUs and memory",
    "ReqNodeNotAvail": "nodes that it needs are down, reserved, or kept for maintenance",
    "Nodes_required_for_job_are_DOWN": "nodes that it needs are down, drained or reserved",
    "NodeDown": "a node that it needs is down",
    "Reservation": "its reservation has not begun",
    "ReservationDeleted": "its reservation was deleted",
    "Licenses": "licenses that it needs are in use",
    "QOSUsageThreshold": "its QOS has used too much lately",
}
LIMITS = (
    (re.compile(r"(QOS|Assoc)\w*Grp\w*"), "its group has reached a limit of its {owner}"),
    (re.compile(r"(QOS|Assoc)\w*PerUser\w*"), "you have reached a limit of its {owner} for one person"),
    (re.compile(r"(QOS|Assoc)\w*Max\w*"), "it asks for more than its {owner} allows at a time"),
    (re.compile(r"(QOS|Assoc)\w*"), "a limit of its {owner} is reached"),
)
"""Names made of whose limit it is and of what; in order, since the first that fits counts."""
OWNERS = {"QOS": "QOS", "Assoc": "account"}


def in_words(reason: str, job: str) -> str:
    """Return why a job waits: in plain words where they are known, and always as Slurm calls it."""
    if not reason:
        return REASONS["None"]
    # Some name nodes after a comma, some are sentences.
    name = re.split(r"[,:(]", reason)[0].strip().replace(" ", "_")
    known = REASONS.get(name) or next((words.format(owner=OWNERS[found[1]]) for limit, words in LIMITS
                                       if (found := limit.fullmatch(name))), None)
    return f"Slurm says {reason}" if known is None else f"{known.format(job=job)} ({reason})"
