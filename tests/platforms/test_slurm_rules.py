"""What is read from Slurm's own words, as several versions of it write them."""

import pytest

from launcher.core.site_facts import Partition, Rules
from launcher.platforms.slurm_rules import partitions, rules

OLD = """Configuration data as of 2026-11-21T10:00:00
AccountingStorageType   = accounting_storage/none
AuthInfo                = socket=/run/munge.socket,cred_expire=5
AuthType                = auth/munge
JobRequeue              = 1
KillWait                = 30 sec
PreemptMode             = REQUEUE
PreemptType             = preempt/partition_prio
ProctrackType           = proctrack/linuxproc
SLURM_VERSION           = 22.05.8
SlurmctldParameters     = enable_configless,preempt_send_user_signal
SlurmdTimeout           = 300 sec
TaskPlugin              = task/none

Slurmctld(primary) at login is UP
"""
NEW = """AuthInfo                = (null)
JobRequeue              = 0
KillWait                = 120 sec
PreemptParameters       = (null)
PreemptType             = preempt/qos
ProctrackType           = proctrack/cgroup
SLURM_VERSION           = 24.11.3
SlurmctldParameters     = (null)
SlurmdTimeout           = 600 sec
TaskPlugin              = task/cgroup,task/affinity

Cgroup Support Configuration:
ConstrainRAMSpace       = yes
"""
LOW = ("PartitionName=low AllowGroups=ALL AllowAccounts=ALL AllowQos=ALL AllocNodes=ALL Default=YES QoS=N/A "
       "DefaultTime=01:00:00 DisableRootJobs=NO ExclusiveUser=NO GraceTime=60 Hidden=NO MaxNodes=UNLIMITED "
       "MaxTime=2-00:00:00 MinNodes=0 LLN=NO MaxCPUsPerNode=UNLIMITED Nodes=node[1-64] PriorityJobFactor=1 "
       "PriorityTier=1 RootOnly=NO ReqResv=NO OverSubscribe=NO OverTimeLimit=NONE PreemptMode=REQUEUE State=UP "
       "TotalCPUs=4096 TotalNodes=64 SelectTypeParameters=NONE JobDefaults=(null) DefMemPerNode=UNLIMITED")
HIGH = ("PartitionName=high AllowGroups=ALL Default=NO QoS=normal DefaultTime=NONE GraceTime=0 MaxNodes=4 "
        "MaxTime=UNLIMITED PriorityTier=10 PreemptMode=OFF State=DOWN TotalCPUs=128 TotalNodes=2 "
        "TRES=cpu=128,mem=1T,node=2,gres/gpu=16")


def test_the_rules_of_an_older_slurm():
    assert rules(OLD) == Rules(version="22.05.8", requeue=True, kill_wait_s=30, preempts="partition", warns=True,
                               proctrack="proctrack/linuxproc", task_plugins=("task/none",), node_timeout_s=300,
                               requeue_delay_s=6)


def test_the_rules_of_a_newer_slurm():
    assert rules(NEW) == Rules(version="24.11.3", requeue=False, kill_wait_s=120, preempts="qos", warns=False,
                               proctrack="proctrack/cgroup", task_plugins=("task/cgroup", "task/affinity"),
                               node_timeout_s=600, requeue_delay_s=121)
    assert rules(NEW.replace("PreemptParameters       = (null)", "PreemptParameters = send_user_signal")).warns


@pytest.mark.parametrize("kind,by", [("preempt/none", ""), ("(null)", ""), ("preempt/site", "other")])
def test_what_pushes_out_jobs(kind, by):
    assert rules(OLD.replace("preempt/partition_prio", kind)).preempts == by


def test_what_slurm_does_not_say_is_not_guessed():
    found = rules("SLURM_VERSION = 19.05.0\n")
    assert (found.requeue, found.kill_wait_s, found.proctrack, found.node_timeout_s) == (None, None, "", None)


def test_partitions_with_and_without_limits():
    assert partitions(f"{LOW}\n{HIGH}\n") == [
        Partition(name="low", default=True, nodes=64, max_time_s=172800, default_time_s=3600, grace_s=60,
                  preempt_mode="REQUEUE", tier=1),
        Partition(name="high", state="DOWN", nodes=2, max_nodes=4, preempt_mode="OFF", tier=10)]
