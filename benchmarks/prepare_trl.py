"""Prepare the same files as SFTTrainer does before training, and say how long it took: a yardstick.

Usage: prepare_trl.py TOKENIZER_DIR SOURCES_JSON CACHE OUT_JSON PROCESSES LENGTH

Timed is what its constructor does with a data set: reading JSON, templates and tokens, labels, best fit decreasing.
Imports and making a model are not.
"""

import json
import os
import sys
import time
from pathlib import Path

os.environ["HF_DATASETS_CACHE"] = sys.argv[3]

from datasets import Dataset, load_dataset
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM
from trl import SFTConfig, SFTTrainer


def trainer_for(tokenizer, folder: str, chats: bool, processes: int, length: int) -> SFTTrainer:
    """Return a trainer of a model that is next to nothing, on a data set of one row like those to come."""
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), hidden_size=8, intermediate_size=8,
                                         num_hidden_layers=1, num_attention_heads=1, num_key_value_heads=1))
    config = SFTConfig(output_dir=folder, packing=True, max_length=length, assistant_only_loss=chats, use_cpu=True,
                       dataset_num_proc=processes if processes > 1 else None, report_to=[], bf16=False,
                       gradient_checkpointing=False)
    row = {"messages": [{"role": "user", "content": "1"}, {"role": "assistant", "content": "2"}]} if chats else \
        {"prompt": "1", "completion": "2"}
    few = Dataset.from_list([row] * 4)
    return SFTTrainer(model=model, args=config, train_dataset=few, processing_class=tokenizer)


def main(tokenizer_folder: str, sources: str, cache: str, out: str, processes: int, length: int) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    paths = json.loads(Path(sources).read_text())
    trainers = {name: trainer_for(tokenizer, f"{cache}/{name}", "chat" in name, processes, length) for name in paths}
    begin = time.time()
    found = {}
    for name, path in paths.items():
        dataset = load_dataset("json", data_files=path, split="train")
        trainer = trainers[name]
        packed = trainer._prepare_dataset(dataset, tokenizer, trainer.args, True, None, name)
        found[name] = (len(dataset), packed)
    seconds = time.time() - begin
    told = {name: {"read": read, "rows": len(packed), "tokens": sum(map(len, packed["input_ids"]))}
            for name, (read, packed) in found.items()}
    Path(out).write_text(json.dumps({"seconds": seconds, "sources": told}))


if __name__ == "__main__":
    main(*sys.argv[1:5], int(sys.argv[5]), int(sys.argv[6]))
