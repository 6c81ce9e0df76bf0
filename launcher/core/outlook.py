"""What a run takes on machines that are named: step time, hours, cost, checkpoints and how often to save.

Decides nothing about a run, and says with each figure how far it is known. Step times are `core.step_time`, memory is
`core.memory`; what the run consists of is the plan's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from launcher.core.architectures import ModelFacts
from launcher.core.dealing import micro_batches
from launcher.core.document import Document
from launcher.core.hardware import CPU, Hardware
from launcher.core.run_plan import RunPlan
from launcher.core.saving import EXPECTED_S, auto_seconds
from launcher.core.stage_adapters import count_of
from launcher.core.step_time import Coefficients, Known, StepTime, coefficients_of, step_time
from launcher.core.step_work import Geometry, geometry_of, shape_of
from launcher.core.trained_parameters import trained_in_all

CHECKPOINTED = 12
"""Bytes in a checkpoint for each trained parameter: fp32 master and both moments. Frozen ones are not in it."""
DISK = 2e9
"""Bytes/s that a node writes to what all share, where nothing is said: a good network file system. An assumption."""
Basis = Known | Literal["measured", "disturbed"]
WITHIN: Mapping[Basis, str] = {
    "published": "8 % for 9 of 10 runs that llm-foundry published, a third for other software",
    "related": "a third, for published runs: a guess from GPUs of the same kind",
    "guessed": "a half: a guess from runs on other GPUs",
    "measured": "15 % for shapes that were not measured, on a quiet machine",
    "disturbed": "no known bound: steps varied much while this was measured; --calibrate when nothing else runs",
}
"""How far step times are known: benchmarks/README.md has the tables."""


@dataclass(frozen=True, slots=True)
class Machines:
    """What a plan's time is asked for."""

    hardware: Hardware
    nodes: int
    ranks: int
    micro_batch: int
    coefficients: Coefficients
    basis: Basis
    said: str
    """How people are told about them."""
    network: float | None = None
    """Bytes/s of a node to others, where it is not the usual one."""
    assumed: bool = False
    """Nobody named the GPUs."""


class Outlook(Document):
    """What a run takes."""

    machines: str
    ranks: int
    nodes: int
    gpus: bool
    """Whether these are GPUs, and not a machine's cores."""
    basis: Basis
    assumed: bool
    step: StepTime
    hours: float
    """Of all steps; starts, evaluations and restarts besides."""
    gpu_hours: float
    dollars: float | None
    price: float | None
    """Of an hour of one GPU, in dollars."""
    price_source: str | None
    checkpoint_bytes: int
    save_seconds: float
    """Until a checkpoint is written, in the background."""
    disk: float
    """Bytes/s a node that this is told for."""
    save_every: float
    """Seconds between saves by Young and Daly, at a failure every four hours: what `every: auto` begins with."""


def machines_of(hardware: Hardware, nodes: int, ranks: int, micro_batch: int, *, network: float | None = None,
                assumed: bool = False) -> Machines:
    """Return GPUs that nothing was measured on."""
    coefficients, known = coefficients_of(hardware)
    each = ranks // nodes
    said = f"{nodes} x {each} {hardware.name}" if nodes > 1 else f"{each} {hardware.name}"
    return Machines(hardware, nodes, ranks, micro_batch, coefficients, known, said, network, assumed)


def outlook(plan: RunPlan, facts: ModelFacts, machines: Machines, *, price: float | None = None,
            disk: float = DISK) -> Outlook | None:
    """Return what a run takes on machines; None for an adapter whose size is not known."""
    adapter = None if plan.adapter is None else facts.adapter_parameters(plan.adapter)
    if plan.adapter is not None and adapter is None:
        return None
    step = step_time(shape_of(facts, adapter), geometry(plan, machines), machines.hardware, machines.coefficients,
                     machines.network)
    hours = _seconds(plan, facts, machines, adapter) / 3600
    listed = machines.hardware.price
    hourly = price if price is not None else listed.dollars if listed else None
    size = CHECKPOINTED * (trained_in_all(plan, facts) if adapter is None else adapter * count_of(plan))
    blocked, written = size / machines.ranks / machines.hardware.host_link, size / machines.nodes / disk
    return Outlook(
        machines=machines.said, ranks=machines.ranks, nodes=machines.nodes, basis=machines.basis,
        gpus=machines.hardware.name != CPU, assumed=machines.assumed, step=step, hours=hours,
        gpu_hours=hours * machines.ranks,
        dollars=None if hourly is None else hours * machines.ranks * hourly, price=hourly,
        price_source=None if price is not None or listed is None else listed.source, checkpoint_bytes=size,
        save_seconds=written, disk=disk, save_every=auto_seconds(blocked, written, EXPECTED_S))


def _seconds(plan: RunPlan, facts: ModelFacts, machines: Machines, adapter: int | None) -> float:
    """Return the time of all steps: those of stages with other rows, batches or configurations take another one."""
    shape = shape_of(facts, adapter)
    found = 0.0
    for stage in plan.stages:
        step = step_time(shape, geometry(plan.as_of(stage), machines), machines.hardware, machines.coefficients,
                         machines.network)
        found += step.seconds * (stage.last_step - stage.first_step + 1)
    return found


def geometry(plan: RunPlan, machines: Machines) -> Geometry:
    """Return how a plan's steps are dealt out to machines."""
    config: Mapping[str, Any] = plan.ds_template
    return geometry_of(
        config, sequence_length=plan.sequence_length, micro_batch=machines.micro_batch,
        micro_batches=micro_batches(plan.rows_per_step, machines.ranks, machines.micro_batch), ranks=machines.ranks,
        nodes=machines.nodes, precision=plan.model.precision, checkpointing=plan.model.gradient_checkpointing,
        chunked=plan.model.speed.chunked_cross_entropy,
        whole_mask=plan.model.attention != "flash_attention_2")
