"""Decoder layers forward and back, compiled by torch and as they are written: processor time, and that of compiling.

In one process and one thread, on rows of short documents, without optimizer or ranks: a minute that a busy machine does
not spoil, since seconds are of the processor. `benchmarks.speed` trains whole models.

Usage: python -m benchmarks.speed_layers
"""

import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
import typer
from transformers import AutoConfig, AutoModelForCausalLM

from benchmarks.harness import save
from benchmarks.memory_cases import MODELS
from benchmarks.processor_time import DOCUMENT
from launcher.runtime.speed import Compiled, as_written

ROWS, LENGTH, ROUNDS = 2, 256, 8


def least(run: Callable[[], None]) -> float:
    """Return the least processor time of some runs."""
    found = []
    for _ in range(ROUNDS):
        begin = time.process_time()
        run()
        found.append(time.process_time() - begin)
    return min(found)


def main() -> None:
    """Measure, print and write the results."""
    torch.set_num_threads(1)
    fields: dict[str, Any] = {**MODELS["28M"], "vocab_size": 64, "max_position_embeddings": LENGTH}
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model("llama", **fields), dtype=torch.float32).train()
    given = {"input_ids": torch.randint(0, 64, (ROWS, LENGTH)), "use_cache": False,
             "position_ids": (torch.arange(LENGTH) % DOCUMENT).expand(ROWS, LENGTH)}
    compiled = Compiled(model, ROWS)

    def step() -> None:
        model(**given).logits.logsumexp(-1).sum().backward()
        model.zero_grad()

    begin = time.perf_counter()
    with compiled.training(ROWS):
        step()
    first, seconds = time.perf_counter() - begin, dict[str, float]()
    for name, where in (("as written", as_written()), ("compiled", nullcontext())):
        with where:
            step()
            seconds[name] = least(step)
    print(f"forward and back {seconds['as written']:.3f} s as written, {seconds['compiled']:.3f} s compiled: x"
          f"{seconds['compiled'] / seconds['as written']:.2f} of the processor time; the first took {first:.0f} s")
    print(save("speed_layers", {"model": fields, "rows": ROWS, "length": LENGTH, "seconds": seconds, "first": first}))


if __name__ == "__main__":
    typer.run(main)
