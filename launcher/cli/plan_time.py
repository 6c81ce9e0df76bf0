"""What a run takes, in `launcher plan`: for which machines it is asked, what was measured on them, and how it is said.

Decides whose machines are meant where several could be: those of --cluster, else those the recipe names, else these
here. The figures are `core.outlook`'s.
"""

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from pydantic import ValidationError

from launcher.cli.plan_table import labelled
from launcher.core.architectures import ModelFacts
from launcher.core.attempt import AttemptPlan
from launcher.core.attempt_planning import choose_micro_batch, plan_attempt
from launcher.core.calibration import DISTURBED, Calibration, key_of
from launcher.core.cluster_spec import hardware_of, known_names
from launcher.core.errors import UserError
from launcher.core.hardware import GPUS, Hardware, gpu_of_device
from launcher.core.outlook import DISK, WITHIN, Machines, Outlook, machines_of, outlook
from launcher.core.recipe import Recipe
from launcher.core.run_plan import RunPlan
from launcher.core.site_facts import Gpu
from launcher.data.cache import cache_there
from launcher.platforms.local import local_cluster
from launcher.platforms.machine_facts import cpu_name, gpus, installed
from launcher.report.words import count, duration, size

ASSUMED = GPUS["H100-80"]
"""What is told about where GPUs are wanted and nobody says which."""
VERSIONED = ("torch", "deepspeed")
"""Packages whose versions a step's time depends on."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line says of machines and money."""

    cluster: str | None = None
    workers: int | None = None
    cache: str | None = None
    price: float | None = None
    """Dollars for an hour of one GPU."""
    network: float | None = None
    """Gb/s from each node to others."""
    disk: float | None = None
    """GB/s from each node to what all share."""

    def __post_init__(self) -> None:
        for name, value in (("price", self.price), ("network", self.network), ("disk", self.disk)):
            if value is not None and not (math.isfinite(value) and value >= 0 and (value or name == "price")):
                raise UserError(f"--{name} {value:g}: write a number greater than 0")


def outlook_of(made: RunPlan, recipe: Recipe, facts: ModelFacts, asked: Asked,
               attempt: AttemptPlan | None) -> Outlook | str:
    """Return what the run takes on the machines that are meant, or in one line why that is not known."""
    machines = _machines(made, recipe, asked, attempt)
    if isinstance(machines, str):
        return machines
    found = outlook(made, facts, machines, price=asked.price, disk=(asked.disk or DISK / 1e9) * 1e9)
    return found or "not known for an adapter on chosen layers"


def _machines(made: RunPlan, recipe: Recipe, asked: Asked, attempt: AttemptPlan | None) -> Machines | str:
    network = None if asked.network is None else asked.network * 1e9 / 8
    wish = recipe.cluster
    if asked.cluster is not None and attempt is not None:
        named, hardware = any(mark.isalpha() for mark in asked.cluster.replace("x", "")), hardware_of(asked.cluster)
        if named and hardware is None:
            return f"not known for these GPUs. Known are {known_names()}"
        nodes = len({place.node for place in attempt.ranks})
        return _gpus(made, hardware, nodes, attempt.world_size, attempt.micro_batch, network, asked.cache)
    if wish.gpus_per_node and asked.workers is None:
        nodes = wish.nodes or 1
        ranks = wish.workers or nodes * wish.gpus_per_node
        rows = choose_micro_batch(made.rows_per_step, recipe.micro_batch, ranks)
        return _gpus(made, None, nodes, ranks, rows, network, asked.cache)
    return _here(made, recipe, asked)


def _gpus(made: RunPlan, hardware: Hardware | None, nodes: int, ranks: int, micro_batch: int, network: float | None,
          cache: str | None) -> Machines:
    told = machines_of(hardware or ASSUMED, nodes, ranks, micro_batch, network=network, assumed=hardware is None)
    measured = stored(told.hardware.name, 0, made.model.precision, cache)
    return with_measured(told, measured) if measured and hardware else told


def _here(made: RunPlan, recipe: Recipe, asked: Asked) -> Machines | str:
    """Return this machine, if the run can be on it and something was measured here."""
    workers = asked.workers or recipe.cluster.workers
    measure = "not known here: launcher plan RECIPE --calibrate measures a minute"
    device = this_device()
    wish = recipe.cluster.model_copy(update={"workers": workers})
    try:
        attempt = plan_attempt(made, wish, local_cluster(workers), attempt=1, micro_batch=recipe.micro_batch,
                               device="cuda" if device.gpus else "cpu", resume=None)
    except UserError:
        return "not known: --cluster 4x8xH100-80 names machines"
    if device.gpus:
        return _gpus(made, device.hardware, 1, attempt.world_size, attempt.micro_batch, None, asked.cache)
    found = stored(device.name, attempt.threads, made.model.precision, asked.cache)
    return measure if found is None else with_measured(
        Machines(found.hardware, 1, attempt.world_size, attempt.micro_batch, found.coefficients, "measured",
                 f"{attempt.world_size} of this machine's workers"), found)


def with_measured(told: Machines, found: Calibration) -> Machines:
    """Return machines with the coefficients that were measured on their kind."""
    return Machines(told.hardware, told.nodes, told.ranks, told.micro_batch, found.coefficients,
                    "disturbed" if found.spread > DISTURBED else "measured",
                    f"{told.said} (as measured {found.measured} on {found.ranks})", told.network)


@dataclass(frozen=True, slots=True)
class Device:
    """What this machine computes on."""

    name: str
    gpus: tuple[Gpu, ...]
    hardware: Hardware | None
    """What is known of its GPUs."""


@cache
def this_device() -> Device:
    """Return what this machine computes on: its GPUs, else its processor."""
    found = gpus(os.environ)
    if not found:
        return Device(cpu_name(), (), None)
    hardware = gpu_of_device(found[0].name, found[0].memory)
    return Device(hardware.name if hardware else found[0].name, found, hardware)


def versions() -> dict[str, str]:
    """Return the versions that a step's time depends on."""
    return {name: installed(name) for name in VERSIONED}


def stored(device: str, threads: int, precision: str, cache: str | None) -> Calibration | None:
    """Return what was measured of a device with the versions that are installed, or None."""
    if (store := cache_there(cache)) is None:
        return None
    try:
        return Calibration.from_json(store.get(key_of(device, threads, precision, versions())))
    except (KeyError, ValidationError):
        return None


def time_lines(told: Outlook | str, recipe: Recipe) -> Iterator[str]:
    """Yield what is said of it."""
    if isinstance(told, str):
        yield labelled("time", told)
        return
    step = told.step
    yield labelled("time", f"{seconds(step.seconds)} a step on {told.machines}: "
               f"{count(step.tokens_per_gpu)} tokens/s {'a GPU' if told.gpus else 'a worker'}"
               + (f", MFU {step.mfu:.0%}" if told.gpus else ""))
    yield labelled("", f"of it {_shares(step.parts, step.seconds)}")
    yield labelled("run", f"{duration(3600 * told.hours)}" + (f", {told.gpu_hours:,.1f} GPU hours" if told.gpus else "")
               + _cost(told))
    rate = f"{told.disk / 1e9:g} GB/s a node (--disk says another rate)"
    yield labelled("saving", f"{size(told.checkpoint_bytes)} a checkpoint, {seconds(told.save_seconds)} at {rate}, "
                   f"every {recipe.checkpoint.every}; by Young and Daly it pays every {duration(told.save_every)}")
    here = "" if told.basis in ("measured", "disturbed") else "; --calibrate measures yours"
    assumed = "; GPUs are assumed, --cluster names others" if told.assumed else ""
    yield labelled("within", WITHIN[told.basis] + here + assumed)


def _cost(told: Outlook) -> str:
    if not told.gpus and told.dollars is None:
        return ""
    if told.dollars is None:
        return "; --price says what they cost"
    source = f" ({told.price_source})" if told.price_source else ""
    return f", ${told.dollars:,.2f} at ${told.price:.2f} an hour{source}"


PART_NAMES = {"matmul": "matrix products", "attention": "attention", "activations": "other operations",
              "logits": "logits", "update": "the update", "exchange": "exchange between ranks", "launches": "launches",
              "passes": "each micro-batch's own", "steps": "each step's own", "host": "the host"}


def _shares(parts: dict[str, float], whole: float) -> str:
    """Return the largest parts of a step, down to a twentieth."""
    large = sorted(((spent / whole, name) for name, spent in parts.items() if spent >= whole / 20), reverse=True)
    return ", ".join(f"{PART_NAMES[name]} {share:.0%}" for share, name in large)


def seconds(value: float) -> str:
    """Return 0.034 s, 1.9 s or 3 min 20 s."""
    return duration(value) if value >= 60 else f"{value:.2g} s" if value < 10 else f"{value:.0f} s"
