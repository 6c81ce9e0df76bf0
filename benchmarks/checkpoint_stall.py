"""What a checkpoint costs training: how long the loop stands still, and how much steps slow down while it is written.

One worker, state of at least 1 GB. Beside it, in the same process on the same engine: a plain copy of as many bytes
between buffers that were touched before, and DeepSpeed's own `save_checkpoint`.

Usage: python -m benchmarks.checkpoint_stall
"""

import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import typer

from benchmarks.harness import environment, save, spread

MODEL = {"hidden_size": 768, "intermediate_size": 2048, "num_hidden_layers": 11, "num_attention_heads": 12,
         "vocab_size": 8000, "tie_word_embeddings": False}
ROWS, LENGTH = 1, 64
DS_CONFIG = {"train_micro_batch_size_per_gpu": ROWS, "gradient_accumulation_steps": 1, "bf16": {"enabled": True},
             "zero_optimization": {"stage": 3}, "zero_allow_untested_optimizer": True}


def build() -> Any:
    """Return a DeepSpeed engine of one rank after its first step."""
    import deepspeed
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    with tempfile.NamedTemporaryFile() as meeting:
        torch.distributed.init_process_group("gloo", init_method=f"file://{meeting.name}-store", rank=0, world_size=1)
    deepspeed.init_distributed(dist_init_required=False, verbose=False)
    with deepspeed.zero.Init(config_dict_or_path=DS_CONFIG):
        model = LlamaForCausalLM(LlamaConfig(**MODEL)).bfloat16()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    return deepspeed.initialize(model=model, optimizer=optimizer, config=DS_CONFIG, dist_init_required=False)[0]


def step(engine: Any) -> float:
    """Train a step and return its seconds."""
    import torch

    begin = time.perf_counter()
    batch = torch.randint(0, MODEL["vocab_size"], (ROWS, LENGTH))
    engine.backward(engine(input_ids=batch, labels=batch, use_cache=False).loss)
    engine.step()
    return time.perf_counter() - begin


def copies(state: Any) -> list[float]:
    """Return the seconds of copying the state's bytes between buffers touched before."""
    import torch

    sources = [flat.tensor.clone() for flat in state.flats()]
    targets = [torch.ones_like(source) for source in sources]

    def once() -> float:
        begin = time.perf_counter()
        for target, source in zip(targets, sources, strict=True):
            target.copy_(source)
        return time.perf_counter() - begin

    once()
    return [once() for _ in range(5)]


def main(saves: int = 5) -> None:
    """Measure, print and write the results."""
    os.environ |= environment() | {"OMP_NUM_THREADS": "2", "RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}
    import torch

    from launcher.core.cursor import Cursor
    from launcher.core.manifest import Manifest
    from launcher.runtime.checkpoint.saver import Saver
    from launcher.runtime.checkpoint.zero3 import Zero3State
    from launcher.runtime.process_group import Exchange, new_group
    from launcher.storage.checkpoints import Checkpoints
    from launcher.storage.run_dir import RunDir

    torch.set_num_threads(2)
    engine = build()
    state = Zero3State(engine, 0, 1)
    for _ in range(3):
        step(engine)
    size = sum(flat.tensor.numel() * flat.tensor.element_size() for flat in state.flats())
    results: dict[str, Any] = {"bytes": size, "copy": copies(state), "idle_step": [step(engine) for _ in range(4)],
                               "blocked": [], "written": [], "step_while_writing": [], "deepspeed": []}
    with tempfile.TemporaryDirectory() as folder:
        saver = Saver(state, Checkpoints(RunDir(Path(folder) / "run")), Exchange(new_group(), 0, 1), 0, keep=1)
        for number in range(1, saves + 1):
            saver.begin(Manifest(
                run="stall", chain="c", attempt=1, step=number, kind="periodic", parent=None,
                cursor=Cursor(step=number), consumed={}, best_loss=None, optimizer_step=number, world_size=1,
                zero_stage=3, precision="bf16", committed_at=0.0, versions={}, shapes=state.shapes, files=()))
            during = []
            while not saver.idle:
                during.append(step(engine))
            done = saver.finished(wait=True)[0]
            assert not done.error, done.error
            if number > 1:  # the first one makes the buffers
                results["blocked"].append(done.blocked_seconds)
                results["written"].append(done.seconds)
                results["step_while_writing"] += during[:-1] or during
            # Between the saves, so that both kinds of steps see the machine as it is.
            results["idle_step"] += [step(engine) for _ in range(4)]
        for number in range(3):
            begin = time.perf_counter()
            engine.save_checkpoint(str(Path(folder) / "theirs"), tag=str(number))
            results["deepspeed"].append(time.perf_counter() - begin)
    middle = {name: statistics.median(values) for name, values in results.items() if isinstance(values, list)}
    results["ratios"] = {"blocked_to_copy": middle["blocked"] / middle["copy"],
                         "deepspeed_to_blocked": middle["deepspeed"] / middle["blocked"],
                         "step_while_writing_to_idle": middle["step_while_writing"] / middle["idle_step"]}
    print(f"state {size / 2**30:.2f} GiB")
    for name in ("copy", "blocked", "written", "deepspeed", "idle_step", "step_while_writing"):
        print(f"{name:20} {spread(results[name])} s")
    for name, ratio in results["ratios"].items():
        print(f"{name:28} {ratio:.2f}")
    print(save("checkpoint_stall", results))


if __name__ == "__main__":
    typer.run(main)
