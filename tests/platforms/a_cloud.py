"""A cloud on this machine: a bucket, a laptop, and Ray clusters whose machines share nothing but the network.

    with Cloud(moto) as cloud:                      # moto: the fixture of `tests.storage.a_bucket`
        cloud.start_cluster(nodes=2)                # http://head:8265 for everybody on the network
        cloud.laptop("launcher.cli.main", "submit", ...)

Each machine is a set of namespaces (`benchmarks.machines`): its own network, host name and disk. On it every other file
system is read-only, so what one machine writes no other one sees; it has launcher installed, as a machine's image has.
The bucket is behind a relay on the first machine's network, where faults can be had (`tests.storage.s3_relay`). Needs
root. What becomes of a run there is the tests'.
"""

import ctypes
import json
import os
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self, TypeVar

from benchmarks.machines import Machine, Machines
from benchmarks.ray_nodes import ENVIRONMENT, MEMORY, awaited
from launcher.orchestration.faults import first_word
from launcher.platforms.slurm_ray import RAY
from launcher.storage.process_id import ProcessId, command_line
from launcher.storage.store import open_store
from tests.platforms.planted import API, Planted
from tests.storage.s3_relay import Relay

ROOT = Path(__file__).parents[2]
PORT, DASHBOARD = 6379, 8265
TRIES = 3
"""Ray gives a node 30 s to start, whatever else this machine does."""
NEW_NETWORK = 0x40000000
"""CLONE_NEWNET: which of a thread's namespaces is changed."""
ALONE = """set -e
while read -r _ place kind _; do
  case "$kind" in proc | sysfs | cgroup* | devpts | devtmpfs | mqueue) continue ;; esac
  [ "$place" = "$1" ] || mount -o remount,bind,ro "$place"
done < /proc/self/mounts
mount -t tmpfs tmpfs /dev/shm
mkdir "$1/home" "$1/work\""""
Found = TypeVar("Found")


class Cloud:
    """The bucket's provider, the laptop and the machines, as a context: afterwards nothing of it is left."""

    def __init__(self, moto: str, bucket: str) -> None:
        self._moto, self.bucket = moto, bucket
        self.secrets = Planted("laptop", "nodes")

    def __enter__(self) -> Self:
        self._machines = Machines().__enter__()
        try:
            self.disk = str(self._machines.local)
            self._laptop = self._boot()
            self.relay = self.within(lambda: Relay(self._moto, host=self._laptop.address))
            threading.Thread(target=self.relay.serve_forever, args=(0.02,), daemon=True).start()
        except BaseException:
            self._machines.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.relay.over.set()
        self.relay.shutdown()
        self.relay.server_close()
        self._machines.__exit__()

    @property
    def nodes(self) -> list[Machine]:
        """Return the present cluster's nodes that have power."""
        return [each for each in self._machines.live if each in self._nodes]

    def start_cluster(self, nodes: int) -> None:
        """Start a head, which is called `head` from now on, and nodes of one slot each; those of an older one stay."""
        self.head, self._nodes = self._boot(), list[Machine]()
        hosts = self._machines.folder / "hosts"
        others = [line for line in hosts.read_text().splitlines() if not line.endswith(" head")]
        hosts.write_text("\n".join([f"{self.head.address} head", *others, ""]))
        self._ray(self.head, "--head", "--port", str(PORT), "--num-cpus", "0", "--include-dashboard", "true",
                  "--dashboard-host", "0.0.0.0", "--temp-dir", self.disk)
        self.add_nodes(nodes)
        awaited(self._answers, "the dashboard")

    def add_nodes(self, count: int = 1) -> None:
        """Bring more machines into the cluster."""
        added = [self._boot() for _ in range(count)]
        self._nodes += added
        with ThreadPoolExecutor(count) as pool:
            list(pool.map(lambda each: self._ray(each, "--address", f"{self.head.address}:{PORT}", "--num-cpus", "1"),
                          added))

    def lose_power(self, *machines: Machine) -> None:
        """End everything on machines at once, their disks included, once these have been searched for secrets."""
        for machine in machines:
            self.search_disk(machine)
            self._machines.lose_power(machine)

    def raylet(self, machine: Machine) -> ProcessId:
        """Return a machine's raylet."""
        return next(each for each in machine.processes() if Path(first_word(each)).name == "raylet")

    def driver(self) -> list[ProcessId]:
        """Return a job's command and its controller on the head, the command first."""
        found = [each for each in self.head.processes() if any(word.startswith("launcher.") and word.endswith(".main")
                                                              for word in command_line(each))]
        return sorted(found, key=lambda each: "launcher.cli.main" not in command_line(each))

    def laptop(self, *words: str, log: Path) -> "subprocess.Popen[bytes]":
        """Type `python -m ...` on the laptop; what is printed goes to a file."""
        with log.open("ab") as output:
            return subprocess.Popen(self._argv(self._laptop, [sys.executable, "-m", *words]), stdin=subprocess.DEVNULL,
                                    stdout=output, stderr=output, env=self._environment("laptop"))

    def put_on_laptop(self, name: str, text: str) -> None:
        """Write a file into the folder in which commands are typed."""
        (self._seen(self._laptop) / "work" / name).write_text(text)

    def writes(self, machine: Machine, place: str) -> bool:
        """Return whether a process of a machine can write in a folder."""
        return subprocess.run(self._argv(machine, ["touch", f"{place}/written"]), capture_output=True).returncode == 0

    def within(self, work: Callable[[], Found]) -> Found:
        """Do something with sockets on the clusters' network: a namespace is one thread's."""
        def enter() -> Found:
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.setns(self._laptop.namespace, NEW_NETWORK):
                raise OSError(ctypes.get_errno(), "setns")
            return work()

        with ThreadPoolExecutor(1) as pool:
            return pool.submit(enter).result()

    def ask(self, path: str) -> str:
        """Return what the dashboard answers, an error's text too."""
        url = f"http://{self.head.address}:{DASHBOARD}{path}"

        def answer() -> str:
            try:
                with urllib.request.urlopen(url, timeout=30) as told:
                    return str(told.read().decode(errors="replace"))
            except urllib.error.HTTPError as error:
                return f"HTTP {error.code} {error.read().decode(errors='replace')}"

        return self.within(answer)

    def jobs(self) -> dict[str, dict[str, Any]]:
        """Return what the dashboard tells of all jobs, by submission id."""
        return {each["submission_id"]: each for each in json.loads(self.ask("/api/jobs/")) if each["submission_id"]}

    def search_disk(self, machine: Machine) -> None:
        """Look for secrets in what a machine wrote, and in the command lines of what runs on it."""
        self.secrets.search_folder(machine.name, self._seen(machine))
        for process in machine.processes():
            self.secrets.search(f"{machine.name}: a command line", " ".join(command_line(process)).encode())

    def search(self) -> None:
        """Look for secrets on every machine, in everything that the dashboard tells, and in the whole bucket."""
        told = ""
        for path in (*API, *(f"/api/jobs/{job}{more}" for job in self.jobs() for more in ("", "/logs"))):
            answer = self.ask(path)
            self.secrets.search(path, answer.encode())
            told += answer
        assert "RAY_JOB_STOP_WAIT_TIME_S" in told and "RayNodeAgent" in told, "answers do tell of jobs and agents"
        everything = open_store(f"s3://{self.bucket}")
        for key in everything.list():
            self.secrets.search(key, everything.get(key))
        for machine in self._machines.live:
            self.search_disk(machine)

    def _seen(self, machine: Machine) -> Path:
        """Return a machine's disk as this process sees it."""
        return Path(f"/proc/{machine.holder.pid}/root{self.disk}")

    def _boot(self) -> Machine:
        machine = self._machines.boot()
        subprocess.run(machine.argv(["sh", "-c", ALONE, "sh", self.disk]), check=True)
        return machine

    def _answers(self) -> bool:
        try:
            return self.ask("/api/jobs/").startswith("[")
        except OSError:
            return False

    def _ray(self, machine: Machine, *options: str) -> None:
        command = [*RAY, "start", "--node-ip-address", machine.address, "--num-gpus", "0", "--disable-usage-stats",
                   "--object-store-memory", str(MEMORY), *options]
        said = ""
        for _ in range(TRIES):
            done = subprocess.run(self._argv(machine, command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True, env=self._environment("nodes"), check=False)
            if done.returncode == 0:
                return
            said = done.stdout[-2000:]
            for process in machine.processes():
                process.kill()
        raise AssertionError(f"{machine.name}: {said}")

    def _argv(self, machine: Machine, command: Sequence[str]) -> list[str]:
        return machine.argv(["env", "-C", f"{self.disk}/work", *command])

    def _environment(self, whose: str) -> dict[str, str]:
        """Return the environment of everything on the laptop, or on nodes, whose image has launcher installed."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "RAY_", "LAUNCHER_"))}
        return kept | ENVIRONMENT | self.secrets.of[whose] | {
            "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "AWS_ENDPOINT_URL": self.relay.address,
            "HOME": f"{self.disk}/home", "TMPDIR": self.disk, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1",
            "CUDA_VISIBLE_DEVICES": "", "DS_ACCELERATOR": "cpu", "HF_HUB_OFFLINE": "1", "RAY_worker_niceness": "0",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
