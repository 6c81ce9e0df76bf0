"""Machines of a simulated network on this one: each has its own network, host name and temporary folder.

Decides how a machine is made, cut off and switched off; what runs on it is the caller's (`benchmarks.ray_nodes`). A
machine is a set of Linux namespaces around one process, its link a virtual cable to a bridge that lives on the first
machine, so nothing is made in this host's own network. Processes keep this host's pids. Whatever happens to the caller,
a janitor ends every process of every machine when the caller's end of a pipe closes. Needs root.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from launcher.storage.process_id import ProcessId, process_id, wait_gone

NETWORK = "10.78.0"
TOOLS = ("ip", "nsenter", "unshare", "mount", "hostname")
# Its own tmpfs under a path that is the same everywhere, as /tmp is on real machines.
INIT = """set -e
hostname "$1"
mount --bind "$2/hosts" /etc/hosts
mount -t tmpfs -o mode=1777 tmpfs "$2/local"
ip link set lo up
echo ready
exec sleep infinity"""
GONE_S = 10.0


def why_not() -> str:
    """Return why machines cannot be simulated here; nothing if they can."""
    if os.geteuid() != 0:
        return "simulated machines need root"
    if missing := [tool for tool in TOOLS if not shutil.which(tool)]:
        return f"simulated machines need {', '.join(missing)} (Debian: iproute2, util-linux)"
    tried = subprocess.run(["unshare", "--net", "--mount", "--uts", "true"], capture_output=True, text=True,
                           check=False)
    return tried.stderr.strip()


@dataclass(slots=True)
class Machine:
    """One machine; `namespace` is held open, so that its number names no other one meanwhile."""

    name: str
    number: int
    holder: subprocess.Popen[str]
    namespace: int = field(init=False)

    def __post_init__(self) -> None:
        self.namespace = os.open(f"/proc/{self.holder.pid}/ns/net", os.O_RDONLY)

    @property
    def address(self) -> str:
        """Return its IP address."""
        return f"{NETWORK}.{self.number}"

    @property
    def cable(self) -> str:
        """Return the name of its link's end at the bridge."""
        return f"v{self.number}"

    def processes(self) -> list[ProcessId]:
        """Return what runs on it, its holder left out."""
        return [each for each in residents(self.namespace) if each.pid != self.holder.pid]

    def argv(self, command: Sequence[str]) -> list[str]:
        """Return the command line that runs a command on it, in the present folder and under the pid it begins with."""
        # Entering a mount namespace leaves the present folder.
        return ["nsenter", "--target", str(self.holder.pid), "--net", "--mount", "--uts", "--", "env", "-C",
                str(Path.cwd()), *command]


class Machines:
    """A network of machines, as a context: afterwards nothing of it is left."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="nodes-", dir="/tmp"))
        self.local = self.folder / "local"
        """On every machine a folder of its own."""
        self.local.mkdir(mode=0o1777)
        (self.folder / "hosts").write_text("127.0.0.1 localhost\n")
        self.live: list[Machine] = []
        self._made = 0
        self._janitor = subprocess.Popen([sys.executable, "-m", "benchmarks.machines", str(self.folder)],
                                         stdin=subprocess.PIPE, text=True, start_new_session=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._janitor.stdin is not None
        self._janitor.stdin.close()
        self._janitor.wait()
        for machine in self.live:
            _forget(machine)
        self.live = []

    def boot(self) -> Machine:
        """Start another machine. The first one holds the bridge that all others are plugged into."""
        self._made += 1
        name = f"machine{self._made}"
        with (self.folder / "hosts").open("a") as hosts:
            hosts.write(f"{NETWORK}.{self._made} {name}\n")
        holder = subprocess.Popen(
            ["unshare", "--net", "--mount", "--uts", "--propagation", "private", "--", "sh", "-c", INIT, "sh", name,
             str(self.folder)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, start_new_session=True)
        assert holder.stdout is not None and self._janitor.stdin is not None
        if holder.stdout.readline() != "ready\n":
            raise RuntimeError(f"{name} did not start")
        machine = Machine(name, self._made, holder)
        self._janitor.stdin.write(f"{holder.pid} {os.fstat(machine.namespace).st_ino}\n")
        self._janitor.stdin.flush()
        self.live.append(machine)
        if machine is self.live[0]:
            _run(*machine.argv(["ip", "link", "add", "br0", "type", "bridge"]))
            self._up(machine, "br0")
        else:
            self._at_bridge("link", "add", machine.cable, "type", "veth", "peer", "name", "eth0", "netns",
                            str(holder.pid))
            self._at_bridge("link", "set", machine.cable, "master", "br0", "up")
            self._up(machine, "eth0")
        return machine

    def cut_network(self, machine: Machine) -> None:
        """Unplug a machine's cable: it goes on alone, and nobody is told."""
        self._at_bridge("link", "set", machine.cable, "down")

    def mend_network(self, machine: Machine) -> None:
        """Plug it in again."""
        self._at_bridge("link", "set", machine.cable, "up")

    def lose_power(self, machine: Machine) -> None:
        """End everything on a machine at once. The cable goes first, or closed connections would tell its peers."""
        self.cut_network(machine)
        while left := residents(machine.namespace):
            for process in left:
                process.kill()
            machine.holder.poll()
            wait_gone(left, GONE_S)
        self._at_bridge("link", "del", machine.cable)
        _forget(machine)
        self.live.remove(machine)

    def _at_bridge(self, *words: str) -> None:
        _run(*self.live[0].argv(["ip", *words]))

    def _up(self, machine: Machine, device: str) -> None:
        _run(*machine.argv(["ip", "addr", "add", f"{machine.address}/24", "dev", device]))
        _run(*machine.argv(["ip", "link", "set", device, "up"]))


def residents(namespace: int) -> list[ProcessId]:
    """Return the processes in an open network namespace; those that ended have none."""
    wanted = os.fstat(namespace).st_ino
    return [found for found in _everybody() if _network_of(found.pid) == wanted]


def _everybody() -> Iterator[ProcessId]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(ProcessLookupError):
                yield process_id(int(entry.name))


def _network_of(pid: int) -> int | None:
    try:
        return Path(f"/proc/{pid}/ns/net").stat().st_ino
    except OSError:
        return None


def _forget(machine: Machine) -> None:
    os.close(machine.namespace)
    machine.holder.communicate()


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr}")


def _clean(folder: Path) -> None:
    """Be the janitor: wait until the caller is gone, then end what is on each of its machines."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    namespaces: list[int] = []
    for line in sys.stdin:
        pid, wanted = line.split()
        with suppress(FileNotFoundError):
            found = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
            # By the time this is read the machine may be gone, and its holder's pid another process's.
            if os.fstat(found).st_ino == int(wanted):
                namespaces.append(found)
    while left := [process for each in namespaces for process in residents(each)]:
        for process in left:
            process.kill()
        wait_gone(left, GONE_S)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    _clean(Path(sys.argv[1]))
