"""The cases of `benchmarks/memory.py`: recipes of new models, planned as launcher plans them, for workers on a CPU."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from launcher.core.attempt import AttemptPlan, Cluster, Node, WorkerOrders
from launcher.core.attempt_planning import plan_attempt
from launcher.core.planning import plan
from launcher.core.recipe import Recipe
from launcher.core.run_plan import RunPlan
from launcher.core.source_index import TokenizerFacts
from launcher.storage.shipped import shipped

WORKERS, STEPS = 2, 2
TINY = "tiny"
"""A model whose case is not measured: it shows what is imported late."""
MODELS: dict[str, dict[str, int]] = {
    TINY: {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
           "num_key_value_heads": 2, "vocab_size": 400},
    "28M": {"hidden_size": 512, "intermediate_size": 1408, "num_hidden_layers": 6, "num_attention_heads": 8,
            "num_key_value_heads": 8, "vocab_size": 8000},
    "80M": {"hidden_size": 768, "intermediate_size": 2048, "num_hidden_layers": 8, "num_attention_heads": 12,
            "num_key_value_heads": 4, "vocab_size": 16_000},
    "148M": {"hidden_size": 1024, "intermediate_size": 2816, "num_hidden_layers": 9, "num_attention_heads": 16,
             "num_key_value_heads": 16, "vocab_size": 16_000},
    "wide": {"hidden_size": 256, "intermediate_size": 704, "num_hidden_layers": 4, "num_attention_heads": 4,
             "num_key_value_heads": 4, "vocab_size": 32_000},
}
CONFIGS = ("zero1", "zero2", "zero3", "zero3_cpu_optimizer", "zero3_cpu_parameters")


@dataclass(frozen=True, slots=True)
class Case:
    """What is trained, and how."""

    model: str
    deepspeed: str
    precision: str
    length: int = 64
    micro_batch: int = 1
    accumulation: int = 1
    checkpointing: bool = False
    attention: str = "sdpa"
    adapter: bool = False
    chunked: bool = False
    compiled: bool = False
    steps: int = STEPS

    @property
    def name(self) -> str:
        """Return a name that no other case has."""
        said = [self.model, self.deepspeed, self.precision, f"{self.micro_batch}x{self.length}"]
        said += [f"ga{self.accumulation}"] * (self.accumulation > 1) + ["checkpointing"] * self.checkpointing
        said += [self.attention] * (self.attention != "sdpa") + ["lora"] * self.adapter
        said += ["chunked"] * self.chunked + ["compiled"] * self.compiled
        return "-".join(said)

    def planned(self) -> tuple[RunPlan, AttemptPlan]:
        """Return the plan of the case, and its workers' orders."""
        init = {"architecture": "llama", "max_position_embeddings": self.length, **MODELS[self.model]}
        recipe = Recipe.model_validate({
            "name": "memory", "sequence_length": self.length, "batch": {"rows": self.rows}, "learning_rate": 1e-4,
            "model": {"init": init, "tokenizer": {"train": {"vocab_size": 400}}, "precision": self.precision,
                      "attention": self.attention, "gradient_checkpointing": self.checkpointing,
                      "speed": {"chunked_cross_entropy": self.chunked, "compile": "torch" if self.compiled else None}},
            "sources": {"text": {"path": "text.jsonl", "tokens": 10**6}}, "micro_batch": self.micro_batch,
            "stages": [{"name": "only", "length": {"steps": STEPS}, "mix": {"text": 1}}],
            "adapter": {"rank": 8} if self.adapter else None, "cluster": {"workers": WORKERS, "threads": 1}})
        template = shipped("ds_configs", f"{self.deepspeed}.json")
        assert template is not None
        words = TokenizerFacts(fingerprint="none", vocab_size=init["vocab_size"], bos=1, eos=2, pad=0,
                               chat_template=False)
        made = plan(recipe, None, json.loads(template.read_text())).model_copy(update={"tokenizer": words})
        node = Node(name="here", address="127.0.0.1", slots=WORKERS, cores=WORKERS)
        return made, plan_attempt(made, recipe.cluster, Cluster(nodes=(node,)), attempt=1,
                                  micro_batch=self.micro_batch, device="cpu", resume=None)

    @property
    def rows(self) -> int:
        """Return the rows of a step."""
        return WORKERS * self.micro_batch * self.accumulation

    def written(self) -> dict[str, Any]:
        """Return what a worker of the benchmark reads."""
        made, attempt = self.planned()
        orders = WorkerOrders(run_dir="none", cache="none", plan=made, attempt=attempt, rank=0)
        return {"name": self.name, "steps": self.steps, "accumulation": self.accumulation,
                "orders": orders.model_dump(mode="json")}


SIZES = ("28M", "80M", "148M")


def first_case() -> Case:
    """Return the case that is not measured; with adapters and offload, so that it imports what any other does."""
    return Case(TINY, "zero3_cpu_parameters", "bf16", adapter=True)


def all_cases() -> Iterator[Case]:
    """Yield three sizes by stages and offloads, then what differs by rows and passes rather than by state."""
    for deepspeed in CONFIGS:
        for model in SIZES:
            yield Case(model, deepspeed, "fp32" if model == "80M" else "bf16")
    for checkpointing in (False, True):
        yield Case("28M", "zero3", "fp32", 256, 4, checkpointing=checkpointing)
    yield Case("28M", "zero3", "fp32", 256, 4, attention="eager")
    yield Case("28M", "zero2", "bf16", 256, 4)
    for deepspeed in ("zero2", "zero3"):
        yield Case("28M", deepspeed, "fp32", accumulation=3)
        yield Case("28M", deepspeed, "bf16", 256, 2, adapter=True)
