"""How long ranks load after one of two nodes was lost, with its part in the other's memory and with the store alone.

Two nodes on this machine, each with a disk of its own, real workers and a real S3 interface (moto) behind a relay that
gives 50 MB/s in all. The first attempt trains a step and saves; one node's disk is lost, a new one takes its rank.
Measured is what the slowest rank takes from the begin of loading to the first thing it could train; the ranks that live
read their own part from their disk either way.

Usage: python -m benchmarks.peer_copies
"""

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from benchmarks.harness import environment, save, spread
from launcher.core.peer_copies import Holding, Peer
from launcher.core.recipe import ModelChoice
from launcher.core.recipe_running import CheckpointPolicy
from launcher.core.run_plan import RunPlan
from launcher.orchestration.copy_holder import CopyHolder, Duty
from launcher.storage.store import LocalStore
from tests.data.reading.servers import s3_server
from tests.runtime.plain_workers import PlainWorkers, attempt_plan, plain_workers
from tests.runtime.tiny import LENGTH, VOCABULARY, make_plan, write_source, zero_config
from tests.storage.s3_relay import Pace, Relay

RATE = 50e6
SHAPE = {"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 8, "num_attention_heads": 8,
         "num_key_value_heads": 4, "max_position_embeddings": LENGTH}
ONCE = CheckpointPolicy(every="1000 steps", keep=5)
HERE = "127.0.0.1"


@dataclass(frozen=True)
class Scene:
    """A run in a bucket behind a relay, and the disks of its nodes."""

    folder: Path
    url: str
    plan: RunPlan
    relay: Relay

    def node(self, name: str) -> dict[str, str]:
        """Return what the environment of a node's processes says."""
        return {"LAUNCHER_SCRATCH": str(self.folder / name)}

    @contextmanager
    def attempt(self, number: int, nodes: list[str], resume: int | None,
                holdings: tuple[Holding, ...] = ()) -> Generator[PlainWorkers]:
        """Have a rank on each of these nodes, told to train; all of them are ended afterwards."""
        with plain_workers(self.folder / f"mail-{number}", len(nodes), [self.node(name) for name in nodes]) as gang:
            placed = attempt_plan(self.plan, len(nodes), zero_config(3, len(nodes), 2), 2, attempt=number,
                                  resume=resume)
            gang.order(self.url, str(self.folder / "cache"), self.plan, placed, ONCE, holdings)
            yield gang

    def loaded(self, number: int, holdings: tuple[Holding, ...]) -> dict[str, float]:
        """Load on the node that lives and a new one; return seconds, and bytes of tensors that the store gave."""
        shutil.rmtree(self.folder / "new", ignore_errors=True)
        self.relay.given.clear()
        with self.attempt(number, ["one", "new"], 1, holdings) as gang:
            gang.wait_until(lambda: all(seen(gang, rank, "engine_ready") for rank in (0, 1)))
            spans = [(begun(gang.events[rank]), at(gang.events[rank], "engine_ready")) for rank in (0, 1)]
        read = sum(given.size for given in self.relay.given if given.path.partition("?")[0].endswith(".bin"))
        return {"seconds": max(end - start for start, end in spans), "tensor_bytes_of_the_store": read}


def seen(gang: PlainWorkers, rank: int, event: str) -> bool:
    """Return whether a rank has told something. Raises if it failed."""
    names = {told["event"] for told in gang.events[rank]}
    if "failed" in names:
        raise RuntimeError(gang.read_logs())
    return event in names


def begun(events: list[dict[str, Any]]) -> float:
    """Return when a rank began to load."""
    return next(float(told["time"]) for told in events
                if told["event"] == "phase" and told["phase"] == "loading" and told["step"] == 1)


def at(events: list[dict[str, Any]], name: str) -> float:
    """Return when a rank told something."""
    return next(float(told["time"]) for told in events if told["event"] == name)


class Holder:
    """A node's holder in a process of its own, as on a real node."""

    def __init__(self, scene: Scene, node: str) -> None:
        self._process = subprocess.Popen([sys.executable, "-m", "benchmarks.peer_copies", "hold", scene.url], text=True,
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         env={**os.environ, **scene.node(node)})
        self.peer = Peer.model_validate_json(self._hear())

    def keep(self, duty: Duty) -> Holding:
        """Have it keep what another node wrote; return what it has once that is all there."""
        self._say(duty.model_dump_json())
        return Holding.model_validate_json(self._hear())

    def close(self) -> None:
        """End it; what it kept is gone."""
        self._process.kill()
        self._process.communicate()

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def _hear(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


def hold(url: str) -> None:
    """Be a node's holder."""
    holder = CopyHolder(url, HERE)
    print(holder.peer.model_dump_json(), flush=True)
    for line in sys.stdin:
        holder.keep(Duty.model_validate_json(line))
        while len((found := holder.holding(1)).files) < 4:  # two files that it wrote, and two of its neighbour
            threading.Event().wait(0.05)
        print(found.model_dump_json(), flush=True)


@contextmanager
def scene() -> Iterator[Scene]:
    """Make the bucket, the data and the plan."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="peers-")))
        moto = stack.enter_context(s3_server())
        relay = Relay(moto)
        threading.Thread(target=relay.serve_forever, args=(0.02,), daemon=True).start()
        stack.callback(relay.server_close)
        stack.callback(relay.shutdown)
        bucket = f"bucket-{secrets.token_hex(4)}"
        os.environ |= {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1",
                       "AWS_EC2_METADATA_DISABLED": "true", "AWS_ENDPOINT_URL": relay.address}
        urllib.request.urlopen(urllib.request.Request(f"{moto}/{bucket}", method="PUT"), timeout=30).close()
        yield Scene(folder, f"s3://{bucket}/runs/x", plan_in(folder), relay)


def plan_in(folder: Path) -> RunPlan:
    """Write a base model and data; return a plan that saves after its first step and is far from its end."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    config = AutoConfig.for_model("llama", vocab_size=VOCABULARY, tie_word_embeddings=False, **SHAPE)
    AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(folder / "base")
    cache = LocalStore(folder / "cache")
    indexes = [write_source(cache, name, 20, seed) for seed, name in enumerate(("sums", "words"))]
    model = ModelChoice.model_validate({"path": str(folder / "base"), "precision": "fp32", "attention": "eager"})
    return make_plan(indexes, model, rows_per_step=4, stage_rows=(4, 4000))


def main(rounds: int = 5) -> None:
    """Measure, print and write the results."""
    os.environ |= environment()
    measured: list[dict[str, Any]] = []
    with scene() as made, ExitStack() as stack:
        with made.attempt(1, ["one", "two"], None) as gang:
            gang.wait_until(lambda: seen(gang, 0, "checkpoint_committed"))
            committed = next(told for told in gang.events[0] if told["event"] == "checkpoint_committed")
        one, two = Holder(made, "one"), Holder(made, "two")
        stack.callback(one.close)
        holding = one.keep(Duty(before=two.peer, saved=(1, 1)))
        two.close()
        shutil.rmtree(made.folder / "two")
        made.relay.pace = Pace(RATE)
        for number in range(rounds):
            # In turns, and each first as often: machines are noisy.
            both = {"store": (), "peer": (holding,)}
            order = sorted(both, reverse=number % 2 == 0)
            took = {name: made.loaded(10 + 2 * number + order.index(name), both[name]) for name in order}
            measured.append({**took, "ratio": took["peer"]["seconds"] / took["store"]["seconds"]})
            print(json.dumps(measured[-1]), flush=True)
    missing = holding.files["001-rank-001.bin"]
    rates = [each["store"]["tensor_bytes_of_the_store"] / each["store"]["seconds"] / 1e6 for each in measured]
    print(f"a checkpoint of {committed['bytes'] / 1e6:.0f} MB on two nodes, of which one is lost; store 50 MB/s")
    for name in ("store", "peer"):
        read = max(each[name]["tensor_bytes_of_the_store"] for each in measured)
        print(f"load phase, lost part from the {name}: {spread([each[name]['seconds'] for each in measured])} s, "
              f"{read / 1e6:.1f} MB of tensors from the store")
    print(f"ratio within a round: {spread([each['ratio'] for each in measured])}")
    print(f"the store gave {spread(rates)} MB/s over the whole load phase")
    save("peer_copies", {"checkpoint_bytes": committed["bytes"], "lost_bytes": missing, "store_bytes_per_second": RATE,
                         "ratio": spread([each["ratio"] for each in measured]), "rounds": measured},
         ("s3fs", "moto"))


if __name__ == "__main__":
    if sys.argv[1:2] == ["hold"]:
        hold(sys.argv[2])
    else:
        typer.run(main)
