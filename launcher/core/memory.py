"""What memory each worker needs, on its GPU and on its host, part by part, before anything is allocated.

Closed forms of what DeepSpeed 0.19.8 and `runtime` really allocate, not bounds: `memory_state` has weights, gradients
and optimizer, `memory_rows` what the rows of a micro-batch leave behind, `memory_buffers` what communication and CUDA
take. benchmarks/memory.py holds them against measured peaks. Whether a plan fits is `core.memory_fit`.
"""

from dataclasses import replace
from typing import Any, Literal

from launcher.core.architectures import ModelFacts
from launcher.core.document import Document
from launcher.core.memory_buffers import buffers, reserve
from launcher.core.memory_rows import rows_in_work
from launcher.core.memory_setting import Device, Setting, Zero
from launcher.core.memory_state import state
from launcher.core.memory_use import Phase, Use
from launcher.core.run_plan import RunPlan
from launcher.core.stage_adapters import count_of
from launcher.core.trained_parameters import parked_beside, trained_at_most

PHASES: tuple[Phase, ...] = ("backward", "update")


class Part(Document):
    """What one thing takes while most memory is in use."""

    name: str
    gpu: int
    """Bytes on the worker's GPU; 0 for workers on a CPU."""
    host: int
    """Bytes of its host's memory."""


class Memory(Document):
    """What one worker needs at its peak, in bytes."""

    parts: tuple[Part, ...]
    gpu_bytes: int
    host_bytes: int
    peak: Literal["backward", "update"]
    """When the peak is: while gradients are computed, or while the optimizer uses them."""


def memory(plan: RunPlan, facts: ModelFacts, config: dict[str, Any], *, workers: int, micro_batch: int,
           accumulation: int, device: Device) -> Memory | None:
    """Return what each of so many workers needs, with a filled DeepSpeed configuration.

    None for an adapter whose size is not known.
    """
    setting = setting_of(plan, facts, config, workers=workers, micro_batch=micro_batch, accumulation=accumulation,
                         device=device)
    return None if setting is None else memory_of(setting)


def setting_of(plan: RunPlan, facts: ModelFacts, config: dict[str, Any], *, workers: int, micro_batch: int,
               accumulation: int, device: Device) -> Setting | None:
    """Return all that memory depends on; None for an adapter whose size is not known."""
    parts = _parameters(plan, facts)
    if parts is None:
        return None
    trained, frozen, parked = parts
    stacked = plan.adapter is not None and plan.adapter.per_stage == "stacked"
    return Setting(
        facts=facts, trained=trained, frozen=frozen, parked=parked,
        adapter_rank=0 if plan.adapter is None else plan.adapter.rank,
        adapters_at_work=count_of(plan) if stacked else 1,
        four_bits=facts.layers * facts.layer_parameters if plan.adapter and plan.adapter.base == "4bit" else 0,
        precision=plan.model.precision,
        attention=plan.model.attention, checkpointing=plan.model.gradient_checkpointing, length=plan.sequence_length,
        zero=Zero.of(config, plan.model.precision), workers=workers, micro_batch=micro_batch,
        accumulation=accumulation, device=device, chunked=plan.model.speed.chunked_cross_entropy)


def _parameters(plan: RunPlan, facts: ModelFacts) -> tuple[int, int, int] | None:
    """Return how many parameters are trained, only compute, and of these were trained before; None as above."""
    if plan.adapter is None:
        trained = trained_at_most(plan, facts)
        return trained, facts.parameters - trained, parked_beside(plan, facts)
    each = facts.adapter_parameters(plan.adapter)
    if each is None:
        return None
    # Where each stage has an adapter, the last one's engine is the largest.
    earlier = (count_of(plan) - 1) * each
    return each, facts.parameters + earlier, earlier


def memory_of(setting: Setting) -> Memory:
    """Return what a worker needs at the worse of its two peaks."""
    uses = [*state(setting), *rows_in_work(setting), *buffers(setting)]
    uses += reserve(setting, {phase: sum(use.device for use in uses if use.in_phase(phase)) for phase in PHASES})
    if setting.device == "cpu":
        uses = [replace(use, device=0, host=use.device + use.host) for use in uses]
    totals = {phase: (_sum(uses, phase, "device"), _sum(uses, phase, "host")) for phase in PHASES}
    peak = max(PHASES, key=lambda phase: totals[phase])
    return Memory(parts=_parts(uses, peak), gpu_bytes=totals[peak][0],
                  host_bytes=max(host for _, host in totals.values()), peak=peak)


def _sum(uses: list[Use], phase: Phase, where: Literal["device", "host"]) -> int:
    return sum(getattr(use, where) for use in uses if use.in_phase(phase))


def _parts(uses: list[Use], peak: Phase) -> tuple[Part, ...]:
    """Return what there is at the peak, uses of the same name together, in the order of the first."""
    names = dict.fromkeys(use.name for use in uses if use.in_phase(peak) and use.device + use.host)
    return tuple(Part(name=name, gpu=_sum([use for use in uses if use.name == name], peak, "device"),
                      host=_sum([use for use in uses if use.name == name], peak, "host")) for name in names)
