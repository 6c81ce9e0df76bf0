"""A run's state as gauges in Prometheus's text format, for a node exporter's textfile collector. Pure.

Names begin with `launcher_`, the run is a label; seconds and bytes are told as such. A file that no longer changes is
seen by `launcher_last_event_seconds`.
"""

from collections.abc import Iterator, Mapping
from typing import get_args

from launcher.core.account import Account
from launcher.core.events import RunState
from launcher.core.run_plan import RunPlan
from launcher.report.fold import RunFold
from launcher.report.readings import last_scores, readings, readings_by_source
from launcher.report.scores import COUNTS

Labels = Mapping[str, str]
Family = tuple[str, str, list[tuple[Labels, float | None]]]


PLAIN = {
    "step": "Steps done.", "steps": "Steps of the plan.", "segment": "Of the last step, from 0.",
    "loss": "Training loss of the last step.", "learning_rate": "Of the last step.",
    "grad_norm": "Of the last step, before clipping.", "step_seconds": "How long the last step took.",
    "tokens_per_second": "Over recent steps, padding not counted.",
    "mfu": "Share of the GPUs' peak that recent steps came to, where that is known.",
    "memory_bytes": "Resident memory of rank 0.",
    "device_memory_bytes": "The most that tensors have had on rank 0's GPU in the present attempt.",
    "attempt": "Number of the present attempt.", "workers": "Workers of the present attempt.",
    "restarts": "Times that training went on after a failure or a change of nodes.",
    "changes": "Times that it went on as planned with another engine, or after a verdict with another plan.",
    "committed_step": "Step of the newest checkpoint.", "eta_seconds": "Time left at the pace of recent steps.",
    "goodput": "Share of the time worked that went into steps that count.", "exit_code": "Of the run's end.",
    "last_event_seconds": "When the journal last grew, in seconds since 1970."}
"""What gauges without labels are; `status --json` has them by the same names."""
BY_SOURCE = {"losses": ("source_loss", "Training loss of the last step by source."),
             "holdout": ("holdout_loss", "Last measured loss on each source's holdout."),
             "accuracy": ("holdout_accuracy", "Share of its tokens that the model says itself, as last measured.")}
"""By their name in `status --json`."""


def gauges(name: str, fold: RunFold, spent: Account, plan: RunPlan | None = None, *, alive: bool) -> str:
    """Return the gauges of a run."""
    lines = list[str]()
    for gauge, told, samples in _families(fold, spent, plan, alive=alive):
        known = [(labels, value) for labels, value in samples if value is not None]
        if known:
            lines += [f"# HELP launcher_{gauge} {told}", f"# TYPE launcher_{gauge} gauge"]
            lines += [f"launcher_{gauge}{{{_labels({'run': name, **labels})}}} {value!r}" for labels, value in known]
    return "\n".join(lines) + "\n"


def _families(fold: RunFold, spent: Account, plan: RunPlan | None, *, alive: bool) -> Iterator[Family]:
    status = fold.status(alive=alive)
    values = {**status.model_dump(), **readings(fold, plan)}
    for gauge, told in PLAIN.items():
        yield gauge, told, [({}, values[gauge])]
    found = readings_by_source(fold)
    for name, (gauge, told) in BY_SOURCE.items():
        yield gauge, told, [({"source": source}, value) for source, value in found[name].items()]
    scores: dict[str, dict[str, float]] = last_scores(fold)["sources"]
    yield "score", "Share of answers that were right, as last measured.", [
        ({"source": source, "kind": kind}, share) for source, each in scores.items() for kind, share in each.items()
        if kind not in COUNTS]
    yield "forgotten", "Share of its best loss that is forgotten of each source, at the last border of stages.", [
        ({"source": source}, lost.relative) for source, lost in fold.matrix.forgotten().items()]
    yield "transfer", "Transfer of losses as GEM defines it, above 0 is better.", [
        ({"direction": direction}, value) for direction, value in fold.matrix.transfer().model_dump().items()]
    nodes = {worker["rank"]: worker["node"] for worker in fold.workers}
    yield "straggler_score", "How many times as long a rank takes for the same work as the rank in the middle.", [
        ({"rank": str(rank), "node": nodes.get(rank, "")}, score) for rank, score in fold.stragglers.scores.items()]
    yield "straggler", "1 for each rank that is named a straggler.", [
        ({"rank": str(named.rank), "node": named.node}, 1) for named in fold.stragglers.now]
    yield "time_seconds", "Where the run's time went.", [({"part": part}, seconds) for part, seconds
                                                         in spent.parts.items() if spent.wall]
    yield "state", "1 for the state that the run is in.", [
        ({"state": state}, int(state == status.state)) for state in get_args(RunState)]


def _labels(labels: Labels) -> str:
    escaped = {name: value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
               for name, value in labels.items()}
    return ",".join(f'{name}="{value}"' for name, value in escaped.items())
