"""Ray Train (TorchTrainer) with DeepSpeed ZeRO-3, as its guide for DeepSpeed and fault tolerance says: a peer.

Saves with DeepSpeed's `save_checkpoint` into a temporary folder that every rank reports, and continues from
`ray.train.get_checkpoint()` after a failure. Its rows are random tokens in memory: there is no data to prepare or skip.
Usage: ray_train_deepspeed.py ASKED_JSON, which holds `model`, `folder`, `told`, `rows` (of a rank), `length`, `every`.
"""

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
from ray.train import Checkpoint, CheckpointConfig, FailureConfig, RunConfig, ScalingConfig, get_checkpoint, get_context
from ray.train import report as report_to_ray
from ray.train.torch import TorchTrainer

from benchmarks.told import tell


def build(asked: dict[str, Any]) -> Any:
    """Return a DeepSpeed engine of the asked model."""
    import deepspeed
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.integrations.deepspeed import HfDeepSpeedConfig

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False  # not built: it costs 30 s and is not called
    deepspeed.init_distributed(dist_backend="gloo", verbose=False)
    ds_config = {"train_micro_batch_size_per_gpu": asked["rows"], "gradient_clipping": 1.0, "steps_per_print": 10**9,
                 "zero_optimization": {"stage": 3}, "zero_allow_untested_optimizer": True}
    told_of_zero3 = HfDeepSpeedConfig(ds_config)  # while it lives, models are made in the parts of ZeRO-3
    model = AutoModelForCausalLM.from_pretrained(asked["model"], dtype=torch.float32, attn_implementation="sdpa")
    del told_of_zero3
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    return deepspeed.initialize(model=model, optimizer=optimizer, config=ds_config)[0]


def save(engine: Any, step: int) -> None:
    """Save, and wait until every rank's part has been taken."""
    with tempfile.TemporaryDirectory() as folder:
        engine.save_checkpoint(folder)
        report_to_ray({"step": step}, checkpoint=Checkpoint.from_directory(folder))


def continued(engine: Any) -> int:
    """Load the last checkpoint, if there is one; return the steps done."""
    checkpoint = get_checkpoint()
    if checkpoint is None:
        return 0
    with checkpoint.as_directory() as folder:
        engine.load_checkpoint(folder)
    return int(engine.global_steps)


def train(asked: dict[str, Any]) -> None:
    """Train without end: one rank's loop."""
    import torch

    rank = get_context().get_world_rank()
    tell(asked["told"], "rank", rank=rank)
    engine = build(asked)
    step = continued(engine)
    vocabulary = engine.module.config.vocab_size
    while True:
        step += 1
        rows = torch.Generator().manual_seed(2 * step + rank)
        batch = torch.randint(0, vocabulary, (asked["rows"], asked["length"]), generator=rows)
        engine.backward(engine(input_ids=batch, labels=batch, use_cache=False).loss)
        engine.step()
        if rank == 0:
            tell(asked["told"], "step", step=step)
        if step % asked["every"] == 0:
            save(engine, step)


def main(asked: dict[str, Any], loop: Callable[[dict[str, Any]], None] = train) -> None:
    """Run on two workers of a private Ray."""
    ray.init(address="local", include_dashboard=False, _temp_dir=str(Path(asked["folder"]) / "ray"))
    kept = RunConfig(name="run", storage_path=asked["folder"], failure_config=FailureConfig(max_failures=-1),
                     checkpoint_config=CheckpointConfig(num_to_keep=2))
    TorchTrainer(loop, train_loop_config=asked, scaling_config=ScalingConfig(num_workers=2), run_config=kept).fit()


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
