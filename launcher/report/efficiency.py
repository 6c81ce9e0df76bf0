"""How much arithmetic a run's speed comes to: model FLOP/s a worker, and of what share of the hardware's peak (MFU).

Decides what counts. An MFU is the model's own arithmetic over the hardware's peak (Chowdhery et al., arXiv 2204.02311,
B): what gradient checkpointing computes again does not count, nor does padding. Attention over the row is left out, as
documents within a row do not see each other and the journal does not tell their lengths. Where the peak is not known
what was reached is told instead, and why there is no MFU.
"""

from dataclasses import dataclass

from launcher.core.architectures import ModelFacts, facts_of_config
from launcher.core.hardware import Hardware, gpu_of_device
from launcher.core.run_plan import RunPlan
from launcher.core.step_work import flops_of_token, shape_of
from launcher.core.trainable import StageAdapter
from launcher.report.fold import RunFold
from launcher.report.page.scales import short
from launcher.storage.model_facts import facts_at

OTHERS = frozenset({"LAPTOP", "TI", "D", "SUPER"})
"""Words of a name that make another GPU of it."""
SLOWER = frozenset({"PCIE", "NVL"})
"""The same of an H100 or H200: their peak is not that of those on a server's own board."""


@dataclass(frozen=True)
class Efficiency:
    """What a speed comes to."""

    told: str
    """A sentence about it."""
    mfu: float | None = None
    peak: str = ""
    """Of what it is a share."""


def efficiency(plan: RunPlan | None, device: str, tokens_per_second: float | None) -> Efficiency:
    """Return what the speed of one worker comes to. `device`: as its driver calls it; empty on CPU cores."""
    if plan is None or not tokens_per_second:
        return Efficiency("MFU: not known without the plan beside the journal.")
    a_token = _flops_of_token(plan)
    if isinstance(a_token, str):
        return Efficiency(f"MFU: not known, because {a_token}.")
    flops = a_token * tokens_per_second
    reached = f"Reached {_written(flops)} a worker in steps, of the model's arithmetic without padding and attention"
    if not device:
        return Efficiency(f"{reached}. MFU: none, because no step names a GPU, and the peak of CPU cores is not known.")
    gpu = _known(device)
    if gpu is None:
        return Efficiency(f"{reached}. MFU: divide by the peak of {device}, which is not known here.")
    peak = gpu.flops(plan.model.precision)
    of = f"{gpu.name.rpartition('-')[0]}'s {_written(peak)} in {plan.model.precision}"
    return Efficiency(f"{reached}. MFU: {flops / peak:.1%} of {of}.", flops / peak, of)


def recent_efficiency(plan: RunPlan | None, fold: RunFold) -> Efficiency:
    """Return what the speed of recent steps comes to."""
    seconds = sum(step["seconds"] * step["world_size"] for step in fold.recent)
    speed = sum(step["tokens"] for step in fold.recent) / seconds if seconds else None
    return efficiency(plan, (fold.last_step or {}).get("device", ""), speed)


def _flops_of_token(plan: RunPlan) -> float | str:
    """Return the arithmetic of a token, or why it is not known."""
    trained = (segment.trainable for segment in plan.segments)
    if any(each not in ("all", "adapter") and not isinstance(each, StageAdapter) for each in trained):
        return "stages train parts of the model"
    facts = _facts_of(plan)
    if facts is None:
        return "the model's shape is not in the plan nor beside its weights nor in the table of public models"
    adapter = None if plan.adapter is None else facts.adapter_parameters(plan.adapter)
    if plan.adapter is not None and adapter is None:
        return "the adapter's size is not"
    return flops_of_token(shape_of(facts, adapter))


def _facts_of(plan: RunPlan) -> ModelFacts | None:
    if plan.model.init is not None:
        return facts_of_config(plan.model.init, plan.tokenizer.vocab_size if plan.tokenizer else None)
    return facts_at(plan.model.path or "")


def _known(device: str) -> Hardware | None:
    """Return the kind of GPU whose peak counts; among those of one name memory makes no difference to it."""
    gpu = gpu_of_device(device, 0)
    if gpu is None:
        return None
    words = set(device.upper().replace("-", " ").split())
    return None if words & (OTHERS | SLOWER if gpu.name.startswith(("H100", "H200")) else OTHERS) else gpu


def _written(flops: float) -> str:
    number = short(flops)
    unit = number.lstrip("0123456789.")
    return f"{number.removesuffix(unit)} {unit}FLOP/s"
