"""How many bytes a node reads from a bucket when its ranks start, beside what they need: counted at the server."""

import shutil
import threading
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from launcher.core.recipe import ModelChoice
from launcher.core.recipe_running import CheckpointPolicy
from launcher.core.run_plan import RunPlan
from launcher.core.slices import zero3_slice
from launcher.storage.store import LocalStore
from tests.runtime.plain_workers import attempt_plan, plain_workers
from tests.runtime.tiny import LENGTH, VOCABULARY, make_plan, write_source, zero_config
from tests.storage.a_bucket import Bucket
from tests.storage.s3_relay import Relay

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SHAPE = {"hidden_size": 256, "intermediate_size": 688, "num_hidden_layers": 4, "num_attention_heads": 4,
         "num_key_value_heads": 2, "max_position_embeddings": LENGTH}
MOST = 1.1
LAST = CheckpointPolicy(every="1000 steps", keep=5)
FLOAT = 4


@dataclass(frozen=True)
class Node:
    """One machine: a disk of its own, and a way to the bucket that counts."""

    disk: Path
    relay: Relay

    def environment(self) -> dict[str, str]:
        return {"LAUNCHER_SCRATCH": str(self.disk), "AWS_ENDPOINT_URL": self.relay.address}

    def read(self) -> int:
        """Return how many bytes of objects it was given."""
        return sum(given.size for given in self.relay.given if "list-type" not in given.path)

    def read_twice(self, name: str) -> int:
        """Return how many bytes of objects with such a name it was given more than once."""
        spans = defaultdict(list)
        for given in self.relay.given:
            if given.path.endswith(name):
                spans[given.path].append((given.begin, given.begin + given.size))
        twice = 0
        for each in spans.values():
            reached = 0
            for low, high in sorted(each):
                twice += max(0, min(reached, high) - low)
                reached = max(reached, high)
        return twice


@pytest.fixture
def nodes(bucket: Bucket, tmp_path: Path) -> Iterator[list[Node]]:
    made = [Node(tmp_path / name, Relay(bucket.direct)) for name in ("one", "two")]
    for node in made:
        node.relay.writing = made[0].relay.writing
        threading.Thread(target=node.relay.serve_forever, args=(0.02,), daemon=True).start()
    yield made
    for node in made:
        node.relay.over.set()
        node.relay.shutdown()
        node.relay.server_close()


@dataclass(frozen=True)
class Trial:
    """A run in a bucket from a base in the bucket, on two nodes."""

    folder: Path
    bucket: Bucket
    nodes: list[Node]
    plan: RunPlan
    sizes: list[int]
    """Elements of each parameter."""

    def attempt(self, number: int, places: list[int], *, resume: int | None = None, stage: int = 3,
                until: str = "engine_ready", new: bool = True) -> list[int]:
        """Begin an attempt whose ranks live on these nodes, which never saw the run if they are `new`; return what each
        node had read when all were ready."""
        for node in self.nodes:
            node.relay.given.clear()
            if new:
                shutil.rmtree(node.disk, ignore_errors=True)
        world = len(places)
        environments = [self.nodes[at].environment() for at in places]
        with plain_workers(self.folder / f"mail-{number}", world, environments) as gang:

            def told(event: str, rank: int) -> bool:
                names = {told["event"] for told in gang.events[rank]}
                assert "failed" not in names, gang.read_logs()
                return event in names

            gang.order(self.bucket.url, str(self.folder / "cache"), self.plan,
                       attempt_plan(self.plan, world, zero_config(stage, world, 2), 2, attempt=number, resume=resume),
                       LAST)
            gang.wait_until(lambda: all(told("engine_ready", rank) for rank in range(world)))
            read = [node.read() for node in self.nodes]
            gang.wait_until(lambda: told(until, 0))
        return read

    def share(self, node: int, places: list[int]) -> int:
        """Return how many elements of the model ZeRO-3 keeps on a node."""
        return sum(zero3_slice("", size, rank, len(places)).length
                   for rank, at in enumerate(places) if at == node for size in self.sizes)


@pytest.fixture
def trial(bucket: Bucket, nodes: list[Node], tmp_path: Path) -> Trial:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    config = AutoConfig.for_model("llama", vocab_size=VOCABULARY, tie_word_embeddings=False, **SHAPE)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.save_pretrained(tmp_path / "base", max_shard_size="5MB")
    for path in (tmp_path / "base").iterdir():
        bucket.put(f"models/base/{path.name}", path.read_bytes())
    # As large beside the weights as real ones are.
    bucket.put("models/base/tokenizer.json", b"{}" + b" " * 100_000)
    cache = LocalStore(tmp_path / "cache")
    indexes = [write_source(cache, name, 20, seed) for seed, name in enumerate(("sums", "words"))]
    choice = ModelChoice.model_validate({"path": f"s3://{bucket.name}/models/base", "precision": "fp32",
                                         "attention": "eager"})
    # Saved after the first step, and far from its end: a finished run keeps nothing on its nodes.
    plan = make_plan(indexes, choice, rows_per_step=4, stage_rows=(4, 2000))
    return Trial(tmp_path, bucket, nodes, plan, [parameter.numel() for parameter in model.parameters()])


def told(what: str, read: list[int], needed: list[int]) -> list[float]:
    ratios = [got / wanted for got, wanted in zip(read, needed, strict=True)]
    print(f"{what}: " + ", ".join(f"{ratio:.3f}" for ratio in ratios) + " of what its ranks need")
    return ratios


def test_a_node_reads_hardly_more_than_its_ranks_need(trial: Trial) -> None:
    three, two = [0, 0, 1], [0, 1]
    read = trial.attempt(1, three, until="checkpoint_committed")
    ratios = told("from a base", read, [FLOAT * trial.share(node, three) for node in (0, 1)])
    assert not any(node.read_twice(".safetensors") for node in trial.nodes)

    read = trial.attempt(2, three, resume=1, new=False)
    at_home = told("the same ranks where they were", read, [3 * FLOAT * trial.share(node, three) for node in (0, 1)])
    assert max(at_home) <= 0.01 and not any(".bin" in given.path for node in trial.nodes for given in node.relay.given)

    read = trial.attempt(3, three, resume=1)
    ratios += told("the same ranks again", read, [3 * FLOAT * trial.share(node, three) for node in (0, 1)])
    read = trial.attempt(4, two, resume=1)
    ratios += told("another number of ranks", read, [3 * FLOAT * trial.share(node, two) for node in (0, 1)])

    read = trial.attempt(5, [0, 0], stage=2)
    ratios += told("from a base that every rank holds whole", read[:1], [FLOAT * sum(trial.sizes)])
    assert not any(node.read_twice(".safetensors") for node in trial.nodes)
    assert max(ratios) <= MOST
