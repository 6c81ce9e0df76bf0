"""How numbers are written for people: durations, counts, sizes, losses."""

from typing import Any

NOT_FINITE = "not finite"
REASONS = {"stop_command": "launcher stop", "time_limit": "the allocation ends", "drain": "the node is taken away",
           "node_loss": "too few nodes are left", "orphaned": "nobody holds the workers any more",
           "controller": "the controller", "spot_notice": "the cloud takes the machines away"}
"""Why a run stops, where the journal's word says too little."""


def duration(seconds: float) -> str:
    """Return 8 s, 3 min 20 s, 2 h 05 min or 3 d 4 h."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def count(number: float) -> str:
    """Return 812, 11.9k, 3.20M or 1.50B."""
    for unit, size in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.{1 if unit == 'k' else 2}f}{unit}"
    return f"{number:.0f}"


def size(count_of_bytes: float) -> str:
    """Return a size in MiB or GiB."""
    mebibytes = count_of_bytes / 2**20
    return f"{mebibytes:.0f} MiB" if mebibytes < 1024 else f"{mebibytes / 1024:.1f} GiB"


def loss(value: float | None) -> str:
    """Return a loss with four digits after the point; None is one that is not finite."""
    return NOT_FINITE if value is None else f"{value:.4f}"


def norm(value: float | None) -> str:
    """Return a gradient norm with three digits; None is one that is not finite."""
    return NOT_FINITE if value is None else f"{value:.3g}"


def reason(event: dict[str, Any]) -> str:
    """Return why a run was asked to stop, and how long it had."""
    name: str = event["reason"]
    told = REASONS.get(name, name)
    within = None if event["deadline"] is None else max(0.0, event["deadline"] - event["time"])
    return told if within is None else f"{told}, within {duration(within)}"


def plural(number: int, word: str) -> str:
    """Return a number with its word: 1 step, 2 steps."""
    return f"{number} {word}{'' if number == 1 else 's'}"
