"""An adapter for each stage: which there are in a segment's model, and into which folder each is exported.

Pure. That a stage trains its own is `core.segments`; what becomes of earlier ones' state, `core.lineage`; which of them
compute, `runtime.adapter`; how they are added into the base, `runtime.checkpoint.merged_base`.
"""

import json
import re
from collections.abc import Iterable

from launcher.core.run_plan import RunPlan, SegmentPlan
from launcher.core.trainable import ADAPTER, StageAdapter, adapter_of

DEFAULT = "default"
"""What peft calls an adapter that is alone."""
TABLE = "adapters.json"
"""Beside the folders of an exported model's adapters: their order, and how they add up."""
_NUMBERED = re.compile(r"stage(\d+)")


def names_in(segment: SegmentPlan) -> tuple[str, ...]:
    """Return the adapters that a segment's model has, the one that is trained last."""
    if not isinstance(segment.trainable, StageAdapter):
        return (DEFAULT,)
    return tuple(StageAdapter(of_stage=number).called for number in range(segment.trainable.of_stage + 1))


def names_of(parameters: Iterable[str]) -> tuple[str, ...]:
    """Return the adapters that parameters belong to, in the order in which they were trained."""
    return tuple(sorted({adapter_of(name) for name in parameters if ADAPTER in name}, key=_number))


def count_of(plan: RunPlan) -> int:
    """Return how many adapters a run has at its end: those of earlier stages are carried along."""
    return len(plan.stages) if plan.adapter is not None and plan.adapter.per_stage is not None else 1


def folder_of(plan: RunPlan, adapter: str) -> str:
    """Return where an exported adapter goes: beside the tokenizer, or in a folder that is named like its stage."""
    found = _NUMBERED.fullmatch(adapter)
    return f"{plan.stages[int(found[1])].name}/" if found else ""


def table(plan: RunPlan, folders: Iterable[str]) -> str:
    """Return what stands beside the folders of a run's adapters, which are in their order."""
    assert plan.adapter is not None and plan.adapter.per_stage is not None
    combine = plan.adapter.per_stage
    return json.dumps({"adapters": [folder.rstrip("/") for folder in folders], "combine": combine,
                       "load": _HOW[combine]}, indent=1)


_HOW = {
    "stacked": "PeftModel.from_pretrained(base, first, adapter_name=...), model.load_adapter(...) for each of the "
               "others, then model.base_model.set_adapter([all of them]): their sum is what was trained",
    "merged": "in this order: model = PeftModel.from_pretrained(model, folder).merge_and_unload(); each was trained "
              "beside weights that had those before it in them",
}


def _number(adapter: str) -> int:
    found = _NUMBERED.fullmatch(adapter)
    return int(found[1]) if found else -1
