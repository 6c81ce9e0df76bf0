"""A real Slurm on simulated machines: one to log in to, which has the controller, and some to compute on.

Decides the configuration: every wait that a test meets is seconds, not minutes. Machines are `benchmarks.machines`;
they share this host's files, as machines of a cluster share their home directories. Needs root and Debian's packages
slurmctld, slurmd, slurm-client and munge.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from benchmarks import machines
from benchmarks.machines import Machine, Machines
from launcher.platforms.slurm_client import fields
from launcher.storage.process_id import command_line

TOOLS = ("slurmctld", "slurmd", "sbatch", "srun", "scontrol", "munged")
PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
CTLD_PORT, SLURMD_PORT = 6817, 6818
CRED_EXPIRE_S = 5
"""The least there is: a job that was requeued waits a second longer than this before it may start again."""
KILL_WAIT_S = 15
"""Between SIGTERM and SIGKILL; 30 by default."""
GRACE_S = 60
"""Between the warning of a preemption and the end, in one of the partitions that are preempted."""
ENDED = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "OUT_OF_MEMORY", "BOOT_FAIL")
CONFIGURATION = """
ClusterName=simulated
SlurmctldHost={login.name}({login.address})
SlurmctldPort={ctld_port}
SlurmdPort={slurmd_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire={cred_expire}
CredType=cred/munge
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
SlurmdSpoolDir={folder}/spool-%n
StateSaveLocation={folder}/state
MpiDefault=none
SwitchType=switch/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
ReturnToService=2
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,sched_min_interval=0,batch_sched_delay=0,bf_interval=1,nohold_on_prolog_fail
KillWait={kill_wait}
SlurmdTimeout=30
MinJobAge=36000
CompleteWait=0
InactiveLimit=0
TCPTimeout=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue={requeue}
PartitionName=low Nodes=ALL Default=YES PriorityTier=1 PreemptMode=REQUEUE GraceTime=0 MaxTime=INFINITE State=UP
PartitionName=graced Nodes=ALL Default=NO PriorityTier=1 PreemptMode=REQUEUE GraceTime={grace} MaxTime=INFINITE State=UP
PartitionName=high Nodes=ALL Default=NO PriorityTier=10 PreemptMode=OFF MaxTime=INFINITE State=UP
"""


def why_not() -> str:
    """Return why there can be no such cluster here; nothing if there can."""
    if missing := [tool for tool in TOOLS if shutil.which(tool, path=PATH) is None]:
        return (f"a Slurm of simulated machines needs {', '.join(missing)} (Debian: apt-get install slurmctld slurmd "
                "slurm-client munge)")
    return machines.why_not()


class Slurm:
    """The cluster, as a context: afterwards nothing of it is left."""

    def __init__(self, nodes: int, cores: int = 1, *, requeue: bool = True) -> None:
        self._nodes, self._cores, self._requeue = nodes, cores, requeue
        self._cleanup = ExitStack()
        self.machines: Machines
        self.login: Machine

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.machines = stack.enter_context(Machines())
            self.login = self.machines.boot()
            self.folder = self.machines.folder
            nodes = [self.machines.boot() for _ in range(self._nodes)]
            self.names = [node.name for node in nodes]
            self._configure(nodes)
            self._start_munge()
            self._start(self.login, "slurmctld", "-D")
            for node in nodes:
                self._start(node, "slurmd", "-D", "-N", node.name)
            awaited(lambda: self._idle() == self._nodes, "all nodes idle")
            self._cleanup = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._cleanup.close()

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment in which Slurm's commands find this cluster and no other."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "SBATCH", "SRUN"))}
        return kept | {"SLURM_CONF": str(self.folder / "slurm.conf"), "PATH": PATH}

    def type(self, *command: object, cwd: Path | None = None, **extra: str) -> subprocess.CompletedProcess[str]:
        """Run a command on the machine that people log in to."""
        words = list(map(str, command))
        argv = self.login.argv(words if cwd is None else ["env", "-C", str(cwd), *words])
        return subprocess.run(argv, env=self.environment | extra, capture_output=True, text=True, timeout=120,
                              check=False)

    def done(self, *command: object, cwd: Path | None = None, **extra: str) -> str:
        """Run a command that must succeed; return what it printed."""
        done = self.type(*command, cwd=cwd, **extra)
        assert done.returncode == 0, f"{command} ended with {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def job(self, job: int) -> dict[str, str]:
        """Return what Slurm knows of a job, of one that has ended too."""
        return fields(self.done("scontrol", "--oneliner", "show", "job", job))

    def await_state(self, job: int, states: Sequence[str] = ENDED, patience_s: float = 90.0) -> dict[str, str]:
        """Wait until a job is in one of these states; return what Slurm knows of it."""
        awaited(lambda: self.job(job)["JobState"] in states, f"job {job} in {', '.join(states)}", patience_s)
        return self.job(job)

    def start_again(self, job: int) -> None:
        """Let a requeued job start before its time; not at once, because nodes refuse what they just revoked."""
        self.await_state(job, ("PENDING",))
        time.sleep(2.0)
        self.type("scontrol", "update", f"JobId={job}", "StartTime=now")

    def name_by_loopback(self, machine: Machine) -> None:
        """Let a machine take its own name for 127.0.1.1, as Debian sets machines up; the others know its address."""
        hosts = self.folder / f"hosts-{machine.name}"
        others = [line for line in (self.folder / "hosts").read_text().splitlines() if line.split()[1] != machine.name]
        hosts.write_text("\n".join((*others, f"127.0.1.1 {machine.name}")) + "\n")
        subprocess.run(machine.argv(["mount", "--bind", str(hosts), "/etc/hosts"]), check=True)

    def machine(self, name: str) -> Machine:
        """Return a machine that is there, by its name."""
        return next(machine for machine in self.machines.live if machine.name == name)

    def nodes_of(self, job: int) -> list[str]:
        """Return the machines of a job, in its order."""
        return self.done("scontrol", "show", "hostnames", self.job(job)["NodeList"]).split()

    def lose_power(self, name: str) -> None:
        """Switch a machine off; Slurm finds out in its own time."""
        self.machines.lose_power(self.machine(name))
        self._nodes -= 1

    def lose_slurmd(self, name: str) -> None:
        """End Slurm's daemon on a machine by force; what it has started lives on."""
        for process in self.machine(name).processes():
            if command_line(process)[:1] == ["slurmd"]:
                process.kill()
        self._nodes -= 1

    def give_up(self, name: str) -> None:
        """Let Slurm find out at once that a machine is gone."""
        self.done("scontrol", "update", f"NodeName={name}", "State=DOWN", "Reason=gone")

    def cancel_all(self) -> None:
        """End every job and wait until all nodes are free."""
        self.type("scancel", "--user=root")
        awaited(lambda: self._idle() == self._nodes, "all nodes idle", 2 * KILL_WAIT_S + 20.0)

    def _configure(self, nodes: Sequence[Machine]) -> None:
        key = self.folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(128))
        (self.folder / "state").mkdir()
        text = CONFIGURATION.format(login=self.login, folder=self.folder, ctld_port=CTLD_PORT, slurmd_port=SLURMD_PORT,
                                    cred_expire=CRED_EXPIRE_S, kill_wait=KILL_WAIT_S,
                                    requeue=int(self._requeue), grace=GRACE_S)
        lines = [f"NodeName={node.name} NodeAddr={node.address} CPUs={self._cores} RealMemory=4000 State=UNKNOWN\n"
                 for node in nodes]
        (self.folder / "slurm.conf").write_text("".join((*lines, text)))

    def _start_munge(self) -> None:
        folder = self.folder
        self._start(self.login, "munged", "--foreground", "--force", f"--key-file={folder}/munge.key",
                    f"--socket={folder}/munge.socket", f"--pid-file={folder}/munged.pid",
                    f"--log-file={folder}/munged.log", f"--seed-file={folder}/munge.seed", "--num-threads=2")
        awaited((folder / "munge.socket").exists, "munge")

    def _start(self, machine: Machine, *command: str) -> None:
        """Start a daemon. The machines' janitor ends it with everything else on them."""
        with (self.folder / f"{command[0]}-{machine.name}.out").open("ab") as output:
            subprocess.Popen(machine.argv(command), stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd="/",
                             env=self.environment, start_new_session=True)

    def _idle(self) -> int:
        found = self.type("sinfo", "--noheader", "--Node", "--partition=low", "--format=%T")
        return found.stdout.split().count("idle")


def awaited(condition: Callable[[], object], what: str, patience_s: float = 60.0) -> None:
    """Wait until a condition holds. Raises TimeoutError if it never does."""
    deadline = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {patience_s:.0f} s")
        time.sleep(0.2)
