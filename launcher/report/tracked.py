"""What a tracker is told of a run: the row of a step, tables, the summary, the configuration. Pure.

When it is told is `core.settled` and `report.tracker`. Names are the journal's, with the source behind a slash.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from launcher.core.account import Account
from launcher.core.forgetting import Matrix
from launcher.core.run_plan import RunPlan
from launcher.core.settled import Point
from launcher.report.fold import RunFold
from launcher.report.readings import readings

STEP = ("loss", "learning_rate", "grad_norm", "seconds", "tokens", "supervised_tokens", "world_size", "attempt",
        "memory_bytes", "device_memory_bytes")
SOURCE = ("loss", "supervised_tokens", "tokens", "rows")
SAMPLE = ("document", "prompt", "output", "reference", "correct")
FORGETTING = ("step", "border", "source", "loss", "accuracy", "best", "absolute", "relative", "from_base")
"""What the last four are: `core.forgetting.Forgotten`."""


@dataclass(frozen=True, slots=True)
class Table:
    """Columns and rows."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


def row_of(point: Point) -> dict[str, Any]:
    """Return what is told of a step: numbers by name, what is not finite left out."""
    row: dict[str, Any] = {"step": point.step, "gone_back": point.back or None}
    if point.done is not None:
        row |= _of_step(point.done)
    if point.evaluation is not None:
        row |= _of_evaluation(point.evaluation)
    return {name: value for name, value in row.items() if value is not None}


def samples_table(events: Iterable[Mapping[str, Any]]) -> Table | None:
    """Return what the model wrote; None if it wrote nothing."""
    rows = tuple((event["step"], event.get("stage", ""), event.get("source", ""),
                  *(_text(sample.get(name)) for name in SAMPLE))
                 for event in events for sample in event.get("samples", ()))
    return Table(("step", "stage", "source", *SAMPLE), rows) if rows else None


def forgetting_table(matrix: Matrix, step: int) -> Table:
    """Return what each border up to a step has measured of each source, and what was forgotten of the best by then."""
    rows = list[tuple[Any, ...]]()
    for number, border in enumerate(matrix.borders):
        lost = matrix.forgotten(number) if border.step <= step else {}
        rows += [(border.step, border.name, source, border.losses[source], border.accuracies.get(source), each.best,
                  each.absolute, each.relative, each.from_base) for source, each in lost.items()]
    return Table(FORGETTING, tuple(rows))


def live_summary(fold: RunFold, url: str, plan: RunPlan | None = None) -> dict[str, Any]:
    """Return where the run stands now, also what is not settled yet, and where its newest checkpoint is."""
    status, now = fold.status(), readings(fold, plan)
    found = {"live/step": status.step, "live/steps": status.steps, "live/loss": status.loss, "live/state": status.state,
             "live/attempt": status.attempt, "live/tokens_per_second": now["tokens_per_second"],
             "goodput": status.goodput, **{name: now[name] for name in ("mfu", "restarts", "changes")},
             "checkpoint/step": status.committed_step,
             "checkpoint/url": f"{url}/checkpoints/step-{status.committed_step:08d}" if status.committed_step else None}
    found |= {"straggler/worst": fold.stragglers.worst, "straggler/named": fold.stragglers.line()}
    return {name: value for name, value in found.items() if value is not None}


def account_summary(spent: Account) -> dict[str, float]:
    """Return where the run's time went, in seconds."""
    return {"time/wall": spent.wall, **{f"time/{name}": seconds for name, seconds in spent.parts.items()}}


def config_of(recipe: Mapping[str, Any], plan: RunPlan, url: str, versions: Mapping[str, str]) -> dict[str, Any]:
    """Return what the run is: the recipe, facts of its plan, where it is, with what it was made."""
    stages = [{"name": stage.name, "first_step": stage.first_step, "steps": stage.steps} for stage in plan.stages]
    return {"recipe": dict(recipe), "run_dir": url, "versions": dict(versions),
            "plan": {"steps": plan.steps, "rows_per_step": plan.rows_per_step, "rows": plan.rows, "seed": plan.seed,
                     "chain": plan.chain(), "grade": plan.grade, "stages": stages}}


def _of_step(event: Mapping[str, Any]) -> dict[str, Any]:
    seconds = event["seconds"]
    return {**{name: event.get(name) for name in STEP},
            "tokens_per_second": event["tokens"] / seconds if seconds else None,
            "stage": event["stage"], "applied": int(event["applied"]),
            **{f"{name}/{source}": part.get(name) for source, part in event["sources"].items() for name in SOURCE}}


def _of_evaluation(event: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"stage": event["stage"], "measured_step": event["step"]}
    for source, part in event["sources"].items():
        found |= {f"holdout/{source}": part["loss"], f"accuracy/{source}": part.get("accuracy")}
    for source, numbers in (event.get("scores") or {}).items():
        found |= {f"{kind}/{source}": value for kind, value in numbers.items() if isinstance(value, int | float)}
    return found | {f"metrics/{name}": value for name, value in (event.get("metrics") or {}).items()}


def _text(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float) else str(value)
