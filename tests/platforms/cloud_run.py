"""A run in the cloud of `tests.platforms.a_cloud`: what is typed for it, what happens to it, and that it is unhurt.

Each blow takes the cloud's run and a source of chance, and leaves a cloud on which the run can go on.
"""

import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.machines import Machine
from launcher.core.drill import differences
from launcher.storage.journal import read_journal
from launcher.storage.process_id import ProcessId
from launcher.storage.run_dir import RunDir
from tests.platforms.a_cloud import DASHBOARD, Cloud
from tests.storage.s3_relay import HALFWAY, KINDS, Faults
from tests.toy_run import launcher

PATIENCE_S = 400.0
"""For a machine that does much else at the same time."""
ENDS_S = 1800.0
"""For a whole run of which every fifth request goes wrong."""
NODES = 2
HEAD = f"http://head:{DASHBOARD}"
RECIPE = """
name: toy
model:
  init: {architecture: llama, hidden_size: 32, intermediate_size: 64, num_hidden_layers: 1, num_attention_heads: 2}
  tokenizer: {train: {vocab_size: 300}}
deepspeed: zero3
sequence_length: 64
sources:
  counting: {path: "package:quickstart/counting.jsonl", holdout: 5%}
  sums: {path: "package:quickstart/sums.jsonl", separator: " "}
stages:
  - {name: counting, length: {steps: FIRST}, mix: {counting: 1}}
  - {name: sums, length: {steps: SECOND}, mix: {sums: 1}, replay: 20%}
learning_rate: 1e-3
batch: {rows: 2}
evaluate: {every: 100000 steps}
checkpoint: {every: EVERY steps}
cluster: {nodes: 2, gpus_per_node: 1, threads: 1}
"""


def recipe(steps: int, every: int) -> str:
    """Return the recipe: two workers on two nodes."""
    lengths = {"FIRST": steps // 4, "SECOND": steps - steps // 4, "EVERY": every}
    text = RECIPE
    for name, value in lengths.items():
        text = text.replace(name, str(value))
    return text


def unbroken(folder: Path, text: str) -> RunDir:
    """Run the recipe on this machine, with as many workers, and let nothing happen to it."""
    (folder / "toy.yaml").write_text(text)
    launcher(folder, "run", "toy.yaml", "--run-dir", "whole", "--without-ray", "--set",
             f"cluster={{workers: {NODES}, threads: 1}}")
    return RunDir(folder / "whole")


class Trouble(Faults):
    """One request in five goes wrong; the first of some goes wrong as is said; an upload may be cut when half is done.
    """

    def __init__(self, seed: int, kinds: tuple[str, ...] = KINDS, *first: tuple[str, str, str]) -> None:
        super().__init__(seed, kinds=kinds)
        self.first = list(first)
        self.at_half: Callable[[int], object] | None = None
        """What happens to the rank whose upload is half done, once."""

    def draw(self, method: str, path: str) -> str | None:
        if self.at_half is not None and method == "PUT" and "/checkpoints/step-" in path and "-rank-" in path:
            return HALFWAY
        for fault in self.first:
            if fault[0] == method and fault[1] in path:
                self.first.remove(fault)
                return fault[2]
        return super().draw(method, path)

    def halfway(self, path: str) -> None:
        act, self.at_half = self.at_half, None
        if act is not None:
            act(int(path.partition("-rank-")[2][:3]))


@dataclass(frozen=True)
class Typed:
    """A command that was typed."""

    process: "subprocess.Popen[bytes]"
    log: Path

    def printed(self) -> str:
        """Return what it has printed until now."""
        return self.log.read_text(errors="replace")


class CloudRun:
    """The run, and a person who works on it at the laptop."""

    def __init__(self, cloud: Cloud, folder: Path, text: str, trouble: Trouble, name: str = "x") -> None:
        self.cloud, self.trouble = cloud, trouble
        self.run = RunDir(f"s3://{cloud.bucket}/runs/{name}")
        self._logs = folder / name
        self._logs.mkdir()
        self.command: Typed
        """What was typed last."""
        cloud.put_on_laptop("toy.yaml", text)
        cloud.relay.faults = trouble

    def type(self, *words: str) -> None:
        """Type a command that goes on."""
        log = self._logs / f"{len(list(self._logs.iterdir())):03d}.log"
        self.command = Typed(self.cloud.laptop(*words, log=log), log)

    def submit(self, *more: str) -> None:
        """Submit the run with launcher."""
        self.type("launcher.cli.main", "submit", "toy.yaml", "--on", "ray", "--address", HEAD, "--run-dir",
                  self.run.url, "--cache", self.cache, *more)

    def plain(self) -> None:
        """Submit the run as Ray's documentation says."""
        self.type("ray.scripts.scripts", "job", "submit", "--address", HEAD, "--working-dir", ".", "--runtime-env-json",
                  '{"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": "120"}}', "--", "python", "-m", "launcher.cli.main", "run",
                  "toy.yaml", "--run-dir", self.run.url, "--cache", self.cache)

    @property
    def cache(self) -> str:
        """Return where data is kept that is prepared once for all runs of a cloud."""
        return f"s3://{self.cloud.bucket}/cache"

    def ended(self) -> tuple[int, str]:
        """Wait for the end of the last command; return its exit code and what it printed."""
        code, printed = self.command.process.wait(ENDS_S), self.command.printed()
        self.cloud.secrets.search("what was printed", printed.encode())
        return code, printed

    def done(self, *words: str) -> str:
        """Type a command beside the last one, and return what it prints once it succeeded."""
        beside = self.command
        self.type(*words)
        code, printed = self.ended()
        self.command = beside
        assert code == 0, printed[-4000:]
        return printed

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the run's events of a name, as they stand in the bucket."""
        return [event for event in read_journal(self.run) if event["event"] == name]

    def attempt(self) -> int:
        """Return the newest attempt's number."""
        return max((event["attempt"] for event in self.events("attempt_started")), default=0)

    def reached(self) -> int:
        """Return the furthest step that the bucket tells of."""
        return max((event["step"] for event in self.events("step")), default=0)

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait for something that comes before the last command ends."""
        end = time.monotonic() + PATIENCE_S
        while not condition():
            over = self.command.process.poll() is not None
            assert not over and time.monotonic() < end, f"{what}: in vain\n{self.command.printed()[-4000:]}"
            time.sleep(0.3)

    def until_it_trains(self, after: int) -> None:
        """Wait for the first step that an attempt after this one does; or for the end, if nothing was left to do."""
        self.until(lambda: any(event["attempt"] > after and not event.get("recovered")
                               for event in self.events("step"))
                   or any(event["exit_code"] == 0 for event in self.events("run_ended")), f"a step after {after}")

    def worker(self, rank: int) -> ProcessId:
        """Return a rank of the newest attempt, of which the bucket is told a moment after it has begun."""
        self.until(lambda: self.events("attempt_started"), "an attempt")
        place = next(each for each in self.events("attempt_started")[-1]["workers"] if each["rank"] == rank)
        return ProcessId(pid=place["pid"], started=place["started"])

    def used(self) -> list[Machine]:
        """Return the nodes that ranks of the newest attempt live on."""
        names = {place["node"] for place in self.events("attempt_started")[-1]["workers"]}
        return [machine for machine in self.cloud.nodes if machine.name in names]

    def job(self) -> str:
        """Return the job that is at work."""
        return next(name for name, told in self.cloud.jobs().items() if told["status"] == "RUNNING")

    def problems(self, whole: RunDir) -> list[str]:
        """Return in what the finished run is not the unbroken one: any number, any byte, any row."""
        before, after = list(read_journal(whole)), list(read_journal(self.run))
        found = differences(before, after)
        found += [f"{event['world_size']} workers" for event in self.events("attempt_started")
                  if event["world_size"] != NODES]
        one, two = (models(run) for run in (whole, self.run))
        found += [f"{name} differs" for name in sorted(one | two) if one.get(name) != two.get(name)]
        proof = self.done("launcher.cli.main", "checkpoints", self.run.url, "--verify")
        return found if "each step that counts is there once" in proof else [*found, proof]


def models(run: RunDir) -> dict[str, bytes]:
    """Return the files of a run's model."""
    return {key: run.store.get(key) for key in run.store.list(f"{run.MODEL}/")}


Blow = Callable[[CloudRun, Random], None]


def ray_job_stop(run: CloudRun, _chance: Random) -> None:
    """Stop the job by Ray's command; the run saves and yields."""
    run.done("ray.scripts.scripts", "job", "stop", "--address", HEAD, run.job())
    code, printed = run.ended()
    assert code == 75 and "the job was stopped: exit code 75" in printed, printed[-4000:]
    assert run.events("run_ended")[-1]["exit_code"] == 75


def kill_raylet(run: CloudRun, chance: Random) -> None:
    """Kill the raylet of a node in use; the cloud brings another machine."""
    run.cloud.raylet(chance.choice(run.used())).kill()
    run.cloud.add_nodes()


def lose_power(run: CloudRun, chance: Random) -> None:
    """Take a machine in use away without a word; the cloud brings another one."""
    run.cloud.lose_power(chance.choice(run.used()))
    run.cloud.add_nodes()


def kill_driver(run: CloudRun, _chance: Random) -> None:
    """Kill the job's command and its controller at once."""
    for process in run.cloud.driver():
        process.signal(signal.SIGKILL)


def lose_head(run: CloudRun, _chance: Random) -> None:
    """Lose the head's machine; another cluster comes up while the old one's nodes are left, and they go then."""
    old = run.cloud.nodes
    run.cloud.lose_power(run.cloud.head)
    run.cloud.start_cluster(NODES)
    run.cloud.lose_power(*old)


def lose_cluster(run: CloudRun, _chance: Random) -> None:
    """Lose the head's machine, and the nodes right after it; another cluster comes up."""
    run.cloud.lose_power(run.cloud.head, *run.cloud.nodes)
    run.cloud.start_cluster(NODES)


def kill_uploader(run: CloudRun, _chance: Random) -> None:
    """Kill a rank when half of a file of a checkpoint is uploaded."""
    run.trouble.at_half = lambda rank: run.worker(rank).kill()
    run.until(lambda: run.trouble.at_half is None, "an upload")


BLOWS: tuple[Blow, ...] = (ray_job_stop, kill_raylet, lose_power, lose_head, lose_cluster, kill_driver, kill_uploader)
