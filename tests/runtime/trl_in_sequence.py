"""TRL's SFTTrainer, made to take documents in the order of its file: a yardstick of masks and losses.

Usage: python -m tests.runtime.trl_in_sequence MODEL_DIR DATA_JSONL OUT_JSON ROWS_PER_STEP LEARNING_RATE
"""

import json
import sys
from pathlib import Path
from typing import Any

import datasets
import torch
from torch.utils.data import Sampler, SequentialSampler
from trl import SFTConfig, SFTTrainer


class InSequence(SFTTrainer):
    """Takes documents as they come, and keeps the loss of each step as it is: the log rounds it."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.losses: list[float] = []

    def _get_train_sampler(self, dataset: Any = None) -> Sampler[int]:
        return SequentialSampler(self.train_dataset)

    def compute_loss(self, *arguments: Any, **named: Any) -> Any:
        found = super().compute_loss(*arguments, **named)
        self.losses.append(float((found[0] if isinstance(found, tuple) else found).detach()))
        return found


def main(model: str, data: str, out: str, rows: int, learning_rate: float) -> None:
    torch.set_num_threads(1)
    documents = datasets.Dataset.from_list(list(map(json.loads, Path(data).read_bytes().splitlines())))
    config = SFTConfig(
        output_dir=str(Path(out).with_suffix("")), per_device_train_batch_size=rows, gradient_accumulation_steps=1,
        num_train_epochs=1, learning_rate=learning_rate, lr_scheduler_type="constant", warmup_steps=0, weight_decay=0.0,
        adam_beta1=0.9, adam_beta2=0.95, adam_epsilon=1e-8, max_grad_norm=1.0, optim="adamw_torch", packing=False,
        max_length=None, assistant_only_loss="messages" in documents.column_names, bf16=False, fp16=False, use_cpu=True,
        gradient_checkpointing=False, save_strategy="no", report_to=[], disable_tqdm=True,
        model_init_kwargs={"dtype": "float32", "attn_implementation": "sdpa"})
    trainer = InSequence(model=model, args=config, train_dataset=documents)
    collated = [trainer.data_collator([example]) for example in trainer.train_dataset]
    trainer.train()
    Path(out).write_text(json.dumps({
        "losses": trainer.losses, "tokens": [each["input_ids"][0].tolist() for each in collated],
        "labels": [each["labels"][0].tolist() for each in collated]}))


if __name__ == "__main__":
    main(*sys.argv[1:4], int(sys.argv[4]), float(sys.argv[5]))
