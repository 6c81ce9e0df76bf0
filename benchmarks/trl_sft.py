"""TRL's SFTTrainer with DeepSpeed ZeRO-3 on a model directory and a jsonl of texts: a yardstick. Started by torchrun.

Usage: trl_sft.py MODEL_DIR DATA_JSONL OUT_JSON STEPS LENGTH ROWS_PER_RANK
"""

import json
import sys
import time
from pathlib import Path

ENTERED = time.time()

import datasets  # noqa: E402
import deepspeed  # noqa: E402
from transformers import TrainerCallback  # noqa: E402
from trl import SFTConfig, SFTTrainer  # noqa: E402

IMPORTED = time.time()
DS_CONFIG = {"train_micro_batch_size_per_gpu": "auto", "gradient_accumulation_steps": "auto",
             "train_batch_size": "auto", "gradient_clipping": "auto", "zero_optimization": {"stage": 3},
             "zero_allow_untested_optimizer": True}


class Clock(TrainerCallback):
    """Notes when training begins and when each optimizer step has ended."""

    def __init__(self) -> None:
        self.begin, self.steps = 0.0, []

    def on_train_begin(self, *_: object, **__: object) -> None:
        self.begin = time.time()

    def on_step_end(self, *_: object, **__: object) -> None:
        self.steps.append(time.time())


def main(model: str, data: str, out: str, steps: int, length: int, rows: int) -> None:
    clock = Clock()
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False  # not built: it costs 30 s and is not called
    deepspeed.init_distributed(dist_backend="gloo", verbose=False)  # on CPU the Trainer leaves this to the caller
    config = SFTConfig(output_dir=str(Path(out).with_suffix("")), max_steps=steps, max_length=length, packing=True,
                       per_device_train_batch_size=rows, gradient_accumulation_steps=1, learning_rate=1e-3,
                       lr_scheduler_type="constant", save_strategy="no", logging_steps=1, report_to=[], bf16=False,
                       use_cpu=True, deepspeed=DS_CONFIG, gradient_checkpointing=False, model_init_kwargs={},
                       disable_tqdm=True)
    trainer = SFTTrainer(model=model, args=config, callbacks=[clock],
                         train_dataset=datasets.load_dataset("json", data_files=data, split="train"))
    trainer.train()
    if trainer.is_world_process_zero():
        Path(out).write_text(json.dumps({"entered": ENTERED, "imported": IMPORTED, "train_begin": clock.begin,
                                         "steps": clock.steps}))


if __name__ == "__main__":
    main(*sys.argv[1:4], *(int(argument) for argument in sys.argv[4:7]))
