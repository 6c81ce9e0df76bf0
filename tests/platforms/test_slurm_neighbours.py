"""Two runs on one node beside somebody else's Ray, in an environment full of traps, with secrets that must not get out.

On a real Slurm; the node takes its own name for 127.0.1.1, its default ports and the first ones of each job's block are
busy, TMPDIR has over 100 characters, and RAY_ADDRESS, RAY_AUTH_MODE and RAY_AUTH_TOKEN are somebody's.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from benchmarks.machines import Machine
from launcher.platforms.ports import blocks
from launcher.storage.process_id import command_line
from tests.platforms.a_slurm import Slurm, awaited, why_not
from tests.platforms.test_slurm_jobs import PATIENCE_S, Cluster, recipe

pytestmark = [pytest.mark.skipif(bool(why_not()), reason=why_not() or "it is possible"), pytest.mark.slow,
              pytest.mark.timeout(600)]

SECRETS = {name: f"planted-{name.lower()}-5f1d" for name in ("WANDB_API_KEY", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY",
                                                            "RAY_AUTH_TOKEN")}
STRAY = {"RAY_ADDRESS": "auto", "RAY_AUTH_MODE": "disabled", "RAY_TMPDIR": "/nonexistent"}
LISTEN = """
import socket, sys
held = [socket.create_server(("", int(port))) for port in sys.argv[1:]]
print("ready", flush=True)
sys.stdin.read()
"""
KEEPER = """
import os, sys, ray
ray.init(address=sys.argv[1], namespace="theirs", log_to_driver=False)
@ray.remote(num_cpus=0)
class Keeper:
    def pid(self): return os.getpid()
keeper = Keeper.options(name="keeper", lifetime="detached", get_if_exists=True).remote()
print("pid", ray.get(keeper.pid.remote()), flush=True)
os._exit(0)
"""


class ForeignRay:
    """Somebody else's Ray on a machine, on Ray's default ports, with an actor that lives while it is left alone."""

    def __init__(self, slurm: Slurm, machine: Machine) -> None:
        self._machine = machine
        self.folder = tempfile.mkdtemp(prefix="theirs-", dir="/tmp")
        self._environment = {**slurm.environment, "RAY_AUTH_MODE": "disabled", "CUDA_VISIBLE_DEVICES": "",
                             "RAY_enable_worker_prestart": "0"}
        self._type("-m", "ray.scripts.scripts", "start", "--head", f"--node-ip-address={machine.address}",
                   "--num-cpus=1", "--include-dashboard=false", f"--temp-dir={self.folder}",
                   "--object-store-memory=80000000", "--disable-usage-stats")

    def keeper(self) -> str:
        """Return the actor's process id; it is started by the first call."""
        printed = self._type("-c", KEEPER, f"{self._machine.address}:6379")
        return printed[printed.index("pid"):]

    def end(self) -> None:
        for process in self._machine.processes():
            if self.folder in " ".join(command_line(process)):
                process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _type(self, *words: str) -> str:
        done = subprocess.run(self._machine.argv([sys.executable, *words]), env=self._environment, text=True,
                              capture_output=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


class Eavesdropper:
    """Somebody who reads every command line on the machines for as long as the jobs run, and the tokens of their Rays,
    which only their owner may read, to know what to look for."""

    def __init__(self) -> None:
        self.lines, self.tokens, self.modes = set[str](), set[str](), set[int]()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> "Eavesdropper":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _listen(self) -> None:
        while not self._done.wait(0.3):
            for process in Path("/proc").glob("[0-9]*/cmdline"):
                self.lines.add(_text(process).replace("\0", " "))
            for token in Path("/tmp").glob("lr[12]-[01]/token"):
                with suppress(FileNotFoundError):  # Its job has just ended.
                    self.modes.add((token.stat().st_mode | token.parent.stat().st_mode) & 0o77)
                    self.tokens.add(token.read_text())


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Slurm(nodes=2, cores=2) as slurm:
        for machine in slurm.machines.live[1:]:
            slurm.name_by_loopback(machine)
        made = Cluster(slurm, tmp_path_factory.mktemp("cluster"))
        scratch = made.folder / ("scratch-" + "x" * 100)
        scratch.mkdir()
        made.environment |= SECRETS | STRAY | {"TMPDIR": str(scratch)}
        yield made
        slurm.cancel_all()
    shutil.rmtree(made.folder, ignore_errors=True)


@pytest.fixture
def foreign(cluster: Cluster) -> Iterator[ForeignRay]:
    """Ray on the node that both jobs get, and whoever has the ports that the jobs would take first."""
    machine = cluster.slurm.machines.live[1]
    ports = [8265, *(port for job in range(1, 5) for port in next(blocks(job, 0))[:4])]
    found = ForeignRay(cluster.slurm, machine)
    with ExitStack() as stack:
        listener = stack.enter_context(subprocess.Popen(
            machine.argv([sys.executable, "-c", LISTEN, *map(str, ports)]), stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True))
        assert listener.stdout is not None and listener.stdin is not None
        assert listener.stdout.readline() == "ready\n"
        yield found
        assert listener.poll() is None
        listener.stdin.close()
    found.end()


def test_neighbours_and_traps_disturb_no_run_and_no_secret_gets_out(cluster: Cluster, foreign: ForeignRay) -> None:
    theirs = foreign.keeper()
    told: list[str] = []
    with Eavesdropper() as eavesdropper:
        jobs = {"wide": _submit(cluster, "wide", told, "--nodes", 2, "--set", "slurm.extra.hold=true"),
                "narrow": _submit(cluster, "narrow", told, "--nodes", 1, "--set",
                                  f"slurm.extra.nodelist={cluster.slurm.names[0]}")}
        follower = _follow(cluster, "wide")
        awaited(lambda: "it is held" in _text(cluster.folder / "followed"), "the word of what is waited for")
        cluster.slurm.done("scontrol", "release", jobs["wide"])
        cluster.await_step("wide", jobs["wide"], attempt=1, step=1)
        told.append(cluster.launcher("status", "wide"))
        shown = [cluster.slurm.await_state(job, patience_s=PATIENCE_S) for job in jobs.values()]
        assert follower.wait(60) == 0
    assert [job["JobState"] for job in shown] == ["COMPLETED"] * 2, cluster.output()
    assert f"job       {jobs['wide']} has machine[2-3], no time limit" in " ".join(told)
    assert max(job["StartTime"] for job in shown) < min(job["EndTime"] for job in shown), "at the same time"
    started = {run: cluster.events(run, "attempt_started") for run in jobs}
    workers = {run: [worker["node"] for worker in event["workers"]] for run, (event,) in started.items()}
    assert workers == {"wide": cluster.slurm.names, "narrow": cluster.slurm.names[:1] * 2}
    for run in jobs:
        proof = " ".join(cluster.launcher("checkpoints", run, "--verify").split())
        assert "ledger 30 steps of 30" in proof and "exactly the rows that the plan names" in proof
    assert foreign.keeper() == theirs
    assert not [path for job in jobs.values() for path in Path("/tmp").glob(f"lr{job}-[01]")]
    assert len(eavesdropper.tokens - {""}) >= 2 and eavesdropper.modes == {0}
    assert "==> attempt 1, rank-000.log <==" in _text(cluster.folder / "followed")
    told += [cluster.launcher("submit", "quickstart", "--on", "slurm", "--run-dir", "third", "--dry-run"),
             json.dumps(shown), *eavesdropper.lines]
    assert _leaks(cluster, told, {*SECRETS.values(), *eavesdropper.tokens} - {""}) == []


def _submit(cluster: Cluster, run: str, told: list[str], *options: object) -> int:
    told.append(cluster.launcher("submit", "quickstart", "--on", "slurm", "--run-dir", run, *options, *recipe()))
    return int(told[-1].split()[1])


def _follow(cluster: Cluster, run: str) -> "subprocess.Popen[bytes]":
    """Start `launcher logs -f` on the login machine; what it prints goes to a file."""
    command = cluster.slurm.login.argv(["env", "-C", str(cluster.folder), sys.executable, "-m", "launcher.cli.main",
                                        "logs", run, "-f"])
    with (cluster.folder / "followed").open("wb") as output:
        return subprocess.Popen(command, env=cluster.slurm.environment | cluster.environment, stdout=output,
                                stderr=output, stdin=subprocess.DEVNULL)


def _leaks(cluster: Cluster, told: list[str], secrets: set[str]) -> list[str]:
    """Return where any secret stands among what was printed, seen, and lies in files of the runs and of Slurm."""
    # What Slurm keeps of the environment (sbatch --export=ALL) lies in its state, for its own user alone.
    state = cluster.slurm.folder / "state"
    files = [path for folder in (cluster.folder, cluster.slurm.folder) for path in folder.rglob("*")
             if path.is_file() and state not in path.parents]
    assert {"slurm-1.out", "slurm-2.out", "slurmctld.log", "journal.jsonl"} <= {path.name for path in files}
    found = [text[:200] for text in told if any(secret in text for secret in secrets)]
    return found + [str(path) for path in files
                    if any(secret.encode() in path.read_bytes() for secret in secrets)]


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
