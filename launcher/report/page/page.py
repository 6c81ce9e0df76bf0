"""The page: everything that is shown of a run as one HTML text that needs nothing else.

Decides what is on it and in which order. It has no script, and a policy that forbids one, so that no text of a recipe
or failure can become one; whatever is put into it is escaped by the template engine.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from launcher import __version__
from launcher.core.account import Account
from launcher.core.events import RunState
from launcher.report import words
from launcher.report.efficiency import Efficiency, efficiency
from launcher.report.fitting import BETWEEN
from launcher.report.page import charts
from launcher.report.page.beside import Beside
from launcher.report.page.history import History
from launcher.report.page.matrix import heat_rows, transfers
from launcher.report.page.mixture import mixtures
from launcher.report.page.samples import samples_of
from launcher.report.page.scores import scores
from launcher.report.page.slow_ranks import slow_ranks
from launcher.report.page.tables import Table
from launcher.report.page.timeline import timeline
from launcher.report.page.waterfall import waterfall
from launcher.report.restarts import brief
from launcher.report.verdicts import decided

CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""What has no place in a page, or would turn the direction of what follows."""


@dataclass(frozen=True)
class Moment:
    """What the command that writes the page knows besides the files."""

    shown: str
    """The run directory as the person knows it."""
    state: RunState
    alive: bool
    following: str
    """What to type next."""
    now: float
    failures: str = ""
    """Of the last attempt, if that is how the run ended."""


def page(history: History, account: Account, found: Beside, moment: Moment) -> str:
    """Return the HTML text."""
    ground = charts.ground_of(history)
    fold, names = history.fold, charts.names_of(history, found.plan.sources if found.plan else ())
    comes_to = efficiency(found.plan, history.device, history.speed_of_worker())
    trained, rows = bool(history.loss.steps), heat_rows(fold)
    facts: dict[str, Any] = {
        "name": fold.name or moment.shown, "moment": moment, "fold": fold,
        "tiles": tiles(history, account, moment, comes_to),
        "next": [told for told in moment.following.split(BETWEEN) if not told.startswith("launcher report ")],
        "made": _utc(moment.now), "version": __version__,
        "losses": list(charts.loss_figures(history, ground, names)),
        "holdouts": list(charts.evaluation_figures(history, ground, names)),
        "matrix": rows, "transfers": transfers(fold.matrix), "decisions": decisions(fold.verdicts),
        "matrix_sources": list(dict.fromkeys(name for row in rows for name in row.cells)),
        "mixtures": mixtures(history, found.plan),
        "steering": [charts.rate_figure(history, ground), charts.norm_figure(history, ground)] if trained else [],
        "speed": [charts.speed_figure(history, ground, comes_to.told)] if trained else [],
        "memory": list(charts.memory_figures(history, ground)),
        "falls": waterfall(account) if account.wall else [], "account": account,
        "timeline": timeline(history, alive=moment.alive) if history.attempts else None,
        "stragglers": slow_ranks(fold.stragglers),
        "samples": samples_of(history), "scores": scores(history), "found": found, "redone": ground.redone,
        "changes": ground.changes, "accurate": any(border.accuracies for border in fold.matrix.borders),
    }
    return _environment().get_template("page.html").render(**facts)


def tiles(history: History, account: Account, moment: Moment, comes_to: Efficiency) -> Sequence[tuple[str, str, str]]:
    """Return the run's first facts: a name, a value and what is said below it."""
    fold = history.fold
    status = fold.status(alive=moment.alive)
    left = status.eta_seconds
    then = f", {words.duration(left)} left" if left else f", stage {status.stage}" if status.stage else ""
    found = [("steps", f"{status.step:,}", f"of {status.steps:,}{then}")]
    if status.step:
        found.append(("training loss", words.loss(status.loss), f"at step {status.step:,}"))
    total, seconds = sum(history.speed.weights), fold.wall_seconds()
    if total:
        tokens = sum(speed * weight for speed, weight in zip(history.speed.values, history.speed.weights, strict=True))
        found.append(("tokens/s", words.count(tokens / total), f"{words.count(tokens)} tokens in all"))
    if comes_to.mfu is not None:
        found.append(("MFU", f"{comes_to.mfu:.1%}", f"of {comes_to.peak}"))
    found.append(("worked", words.duration(seconds), words.plural(status.attempt, "attempt")))
    if account.goodput is not None:
        found.append(("goodput", f"{account.goodput:.1%}", "time in steps that count"))
    restarts = len(fold.restarts.done)
    planned = {attempt.number for attempt in history.explained() if attempt.planned}
    again = sum(span.last - span.first + 1 for span in history.redone if span.attempt not in planned)
    found.append(("restarts", str(restarts), f"{words.plural(again, 'step')} done again" if again else "none done again"
                  if restarts else ""))
    if changes := len(fold.restarts.planned()):
        found.append(("changes", str(changes), "as planned, of engine or stage"))
    saved = fold.committed_step
    found.append(("saved", "nothing yet" if saved is None else f"step {saved:,}", ""))
    return found


def decisions(verdicts: Sequence[Mapping[str, Any]]) -> Table | None:
    """Return what gates and early stopping decided, in order; None where they had nothing to say."""
    rows = [(str(event["step"]), event["stage"], decided(event), event["reason"]) for event in verdicts]
    return Table("What gates and early stopping decided", ("after step", "stage", "decided", "reason"), rows) \
        if rows else None


def signed(value: float | None) -> str:
    """Return a difference with its sign, a real minus among them."""
    return "" if value is None else f"{value:+.3f}".replace("-", "−")


def clean(value: Any) -> Any:
    """Return what is put into the page without characters that have no place there."""
    if not isinstance(value, str):
        return value
    return type(value)(CONTROLS.sub("\ufffd", value)) if isinstance(value, Markup) else CONTROLS.sub("\ufffd", value)


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _environment() -> Environment:
    made = Environment(loader=PackageLoader("launcher.report.page", "."), autoescape=True, undefined=StrictUndefined,
                       finalize=clean, trim_blocks=True, lstrip_blocks=True)
    made.filters |= {"loss": words.loss, "brief": brief, "count": words.count, "signed": signed,
                     "utc": _utc}
    return made
