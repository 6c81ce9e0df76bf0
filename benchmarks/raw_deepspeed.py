"""DeepSpeed's tutorial loop on tensors that lie in memory: the floor for a step's time. Started by torchrun.

Usage: raw_deepspeed.py CONFIG_JSON OUT_JSON, where CONFIG_JSON holds `model`, `ds_config`, `rows`, `length`, `steps`.
"""

import json
import sys
import time
from pathlib import Path

import deepspeed
import torch
from transformers import AutoConfig, AutoModelForCausalLM


def main(config_path: str, out: str) -> None:
    config = json.loads(Path(config_path).read_text())
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False  # not built: it costs 30 s and is not called
    deepspeed.init_distributed(dist_backend="gloo", verbose=False)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    fields = dict(config["model"])
    model_config = AutoConfig.for_model(fields.pop("architecture"), **fields)
    with deepspeed.zero.Init(config_dict_or_path=config["ds_config"]):
        model = AutoModelForCausalLM.from_config(model_config, dtype=torch.float32, attn_implementation="sdpa")
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95))
    engine, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=config["ds_config"])
    batches = torch.randint(0, model_config.vocab_size, (config["steps"], config["rows"], config["length"]))
    times = []
    engine.train()
    for batch in batches:
        loss = engine(input_ids=batch, labels=batch, use_cache=False).loss
        engine.backward(loss)
        engine.step()
        times.append(time.time())
    if torch.distributed.get_rank() == 0:
        Path(out).write_text(json.dumps(times))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
