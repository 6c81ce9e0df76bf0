"""A model's head and the loss alone, whole and by chunks: most memory at once, and processor time, forward and back.

In one process and one thread, without a model before the head: a minute that a busy machine does not spoil, since
allocations are counted as torch makes them and seconds are of the processor. `benchmarks.speed` trains whole models.

Usage: python -m benchmarks.speed_head
"""

import time
from types import SimpleNamespace
from typing import Any

import torch
import typer
from torch import nn
from torch.profiler import ProfilerActivity, profile

from benchmarks.harness import save
from launcher.core.memory_chunks import chunk_of
from launcher.runtime.chunked_loss import HeadLosses
from launcher.runtime.losses import token_losses

MIB = 2**20
SHAPES = ((512, 8_000, 1024), (512, 32_000, 1024), (256, 64_000, 512))
"""Hidden units, entries of the vocabulary, tokens."""
ROUNDS = 2


def made(hidden: int, words: int, dtype: torch.dtype) -> tuple[nn.Linear, HeadLosses]:
    """Return a head and what makes it tell losses."""
    torch.manual_seed(0)
    head = nn.Linear(hidden, words, bias=False, dtype=dtype)
    model = SimpleNamespace(get_output_embeddings=lambda: head, config=SimpleNamespace(model_type="head"))
    return head, HeadLosses(model)


def peak(run: Any) -> int:
    """Return the most bytes that a run has allocated at once."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        run()
    results = seen.profiler
    assert results is not None and results.kineto_results is not None
    held = most = 0
    for event in sorted((each for each in results.kineto_results.events() if each.name() == "[memory]"),
                        key=lambda each: each.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most


def spent(run: Any) -> float:
    """Return the least processor time of some runs."""
    found = []
    for _ in range(ROUNDS):
        begin = time.process_time()
        run()
        found.append(time.process_time() - begin)
    return min(found)


def compare(hidden: int, words: int, tokens: int, dtype: torch.dtype) -> dict[str, Any]:
    """Return what the loss takes of one shape, both ways; the gradient of the head is in both."""
    head, losses = made(hidden, words, dtype)
    rows, labels = torch.randn(1, tokens, hidden, dtype=dtype), torch.randint(0, words, (1, tokens))

    def whole() -> None:
        token_losses(head(rows.requires_grad_()), labels).sum().backward()
        head.weight.grad = rows.grad = None

    def chunked() -> None:
        with losses.instead(labels):
            found = head(rows.requires_grad_())
        found.sum().backward()
        head.weight.grad = rows.grad = None

    both = {"whole": whole, "chunked": chunked}
    return {"hidden": hidden, "words": words, "tokens": tokens, "dtype": str(dtype).removeprefix("torch."),
            "chunk": chunk_of(tokens, hidden, words),
            "weights": head.weight.nbytes, "peak": {name: peak(run) for name, run in both.items()},
            "seconds": {name: spent(run) for name, run in both.items()}}


def main() -> None:
    """Measure, print and write the results."""
    torch.set_num_threads(1)
    found = []
    for dtype in (torch.float32, torch.bfloat16):
        for shape in SHAPES[: 3 if dtype == torch.float32 else 1]:
            told = compare(*shape, dtype)
            found.append(told)
            sizes, took = told["peak"], told["seconds"]
            print(f"{told['dtype']:9} {shape[2]:5} tokens x {shape[1]:7,} words, hidden {shape[0]:5}: "
                  f"{sizes['whole'] / MIB:6.0f} -> {sizes['chunked'] / MIB:5.0f} MiB, "
                  f"{took['whole']:5.2f} -> {took['chunked']:5.2f} s of a processor", flush=True)
    print(save("speed_head", {"rows": found}))


if __name__ == "__main__":
    typer.run(main)
