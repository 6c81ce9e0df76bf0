"""TRL's SFTTrainer with DeepSpeed ZeRO-3 that saves, and resumes from its last checkpoint when it is started again.

Started by `torchrun --max-restarts`; a peer. Usage: trl_restarts.py ASKED_JSON, which holds `model`, `data`, `folder`,
`told`, `rows` (of a rank), `length`, `every`.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from benchmarks.told import tell

ASKED: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
RANK = int(os.environ["RANK"])
tell(ASKED["told"], "rank", rank=RANK)

import datasets  # noqa: E402
import deepspeed  # noqa: E402
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments  # noqa: E402
from transformers.trainer_utils import get_last_checkpoint  # noqa: E402
from trl.trainer.sft_config import SFTConfig  # noqa: E402
from trl.trainer.sft_trainer import SFTTrainer  # noqa: E402

DS_CONFIG = {"train_micro_batch_size_per_gpu": "auto", "gradient_accumulation_steps": "auto",
             "train_batch_size": "auto", "gradient_clipping": "auto", "zero_allow_untested_optimizer": True,
             "zero_optimization": {"stage": 3, "stage3_gather_16bit_weights_on_model_save": True}}


class Tells(TrainerCallback):
    """Tells of each step that is done."""

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object) -> None:
        if RANK == 0:
            tell(ASKED["told"], "step", step=state.global_step)


def main(asked: dict[str, Any]) -> None:
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False  # not built: it costs 30 s and is not called
    deepspeed.init_distributed(dist_backend="gloo", verbose=False)  # on CPU the Trainer leaves this to the caller
    saved = Path(asked["folder"]) / "saved"
    saved.mkdir(exist_ok=True)
    config = SFTConfig(output_dir=str(saved), max_steps=100_000, max_length=asked["length"], packing=True,
                       per_device_train_batch_size=asked["rows"], gradient_accumulation_steps=1, learning_rate=1e-3,
                       lr_scheduler_type="constant", save_strategy="steps", save_steps=asked["every"],
                       save_total_limit=2, logging_steps=1, report_to=[], bf16=False, use_cpu=True,
                       deepspeed=DS_CONFIG, gradient_checkpointing=False, model_init_kwargs={}, disable_tqdm=True)
    trainer = SFTTrainer(model=asked["model"], args=config, callbacks=[Tells()],
                         train_dataset=datasets.load_dataset("json", data_files=asked["data"], split="train"))
    trainer.train(resume_from_checkpoint=get_last_checkpoint(str(saved)))


if __name__ == "__main__":
    main(ASKED)
