"""The proof of an export: `python -m launcher.runtime.checkpoint.proving MODEL RUN STEP`, in plain transformers.

Loads the directory as anybody would and measures the holdouts that the run measured after the same step. Prints JSON:
the losses recorded and found again. A process of its own, so that writing needs no memory for a whole model.
"""

import json
import logging
import sys
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from launcher.core.run_plan import RunPlan
from launcher.data.keys import stored_index
from launcher.data.model_files import whole_model_folder
from launcher.data.packed import PackedSplit
from launcher.runtime.batches import IGNORED
from launcher.runtime.exported_model import folders_of
from launcher.runtime.four_bits import quantize
from launcher.storage.journal import read_journal
from launcher.storage.run_dir import RunDir
from launcher.storage.run_start import read_plan, read_submission
from launcher.storage.store import Store, open_store


@torch.no_grad()
def prove(model_folder: str, run: RunDir, step: int) -> dict[str, Any]:
    """Return `recorded` and `found` losses by source; both empty if the run measured nothing after this step."""
    recorded = _recorded(run, step)
    if not recorded:
        return {"recorded": {}, "found": {}, "tied": True}
    plan, cache = read_plan(run), open_store(read_submission(run).cache)
    model = _load(model_folder, plan)
    tied = model.config.get_text_config().tie_word_embeddings
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    return {"recorded": recorded, "found": {name: _loss(model, _split(plan, cache, name)) for name in recorded},
            "tied": not tied or head.weight.data_ptr() == embedding.weight.data_ptr()}


def _load(folder: str, plan: RunPlan) -> Any:
    options: dict[str, Any] = {"dtype": "auto", "attn_implementation": "sdpa"}
    if plan.model.attention == "eager":
        options["attn_implementation"] = "eager"
    parts = folders_of(Path(folder))
    if not (parts[0] / "adapter_config.json").is_file():
        return AutoModelForCausalLM.from_pretrained(folder, **options).eval()

    assert plan.model.path is not None, "adapters of a new model have no base to load"
    base = AutoModelForCausalLM.from_pretrained(whole_model_folder(plan.model.path), **options)
    if plan.adapter is not None and plan.adapter.base == "4bit":
        quantize(base)
    merged = plan.adapter is not None and plan.adapter.per_stage == "merged"
    return _adapted(base, [str(part) for part in parts], merged=merged).eval()


def _adapted(model: Any, folders: list[str], *, merged: bool) -> Any:
    """Return a base with adapters as adapters.json says: in it one after the other, or all active beside it."""
    from peft import PeftModel

    if merged:
        for folder in folders[:-1]:
            model = PeftModel.from_pretrained(model, folder).merge_and_unload()
        return PeftModel.from_pretrained(model, folders[-1])
    names = [f"stage{number}" for number in range(len(folders))]
    found: Any = PeftModel.from_pretrained(model, folders[0], adapter_name=names[0])
    for name, folder in zip(names[1:], folders[1:], strict=True):
        found.load_adapter(folder, name)
    found.base_model.set_adapter(names)
    return found


def _recorded(run: RunDir, step: int) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for event in read_journal(run):
        if event["event"] == "evaluation" and event["step"] == step:
            found = {name: source["loss"] for name, source in event["sources"].items()}
    return found


def _split(plan: RunPlan, cache: Store, name: str) -> PackedSplit:
    return PackedSplit(cache, stored_index(cache, plan.sources[name].fingerprint), "holdout")


def _loss(model: Any, split: PackedSplit) -> float:
    total, count = 0.0, 0
    for number in range(split.rows):
        row = split.row(number)
        ids, labels = torch.tensor(row.tokens).long(), torch.tensor(row.tokens).long()
        labels[~torch.tensor(row.supervised)] = IGNORED
        # As in training: borders hold with restarting positions, no mask and no cache.
        logits = model(input_ids=ids[None], position_ids=torch.tensor(row.positions).long()[None],
                       use_cache=False).logits[0]
        total += float(torch.nn.functional.cross_entropy(logits[:-1].float(), labels[1:], reduction="sum",
                                                         ignore_index=IGNORED))
        count += int(row.supervised.sum())
    return total / max(count, 1)


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    print(json.dumps(prove(sys.argv[1], RunDir(sys.argv[2]), int(sys.argv[3]))))
