"""What a run directory gets when its run begins, and what is compared when the same command comes again.

Starting is resuming from nothing: the first command writes plan and recipe, every later one must bring the same plan.
"""

from launcher.core.document import Document
from launcher.core.errors import PlanChanged, UserError
from launcher.core.events import RunEnded
from launcher.core.plan_changes import changes
from launcher.core.recipe import Recipe
from launcher.core.run_plan import RunPlan
from launcher.storage.journal import read_journal
from launcher.storage.run_dir import RunDir

SUBMISSION = "submission.json"
SHOWN = 12
"""Differences told in one message; the rest follows from them."""


class Submission(Document):
    """How the run was asked for: what `resume` repeats."""

    file: str
    """The recipe file that was given."""
    overrides: tuple[str, ...] = ()
    """The `--set` options, in order."""
    recipe: Recipe
    """As it was read then: overrides applied and paths absolute, so that `resume` needs no other file."""
    cache: str
    """Path or URL of the prepared data."""


def begin_run(run: RunDir, plan: RunPlan, recipe: bytes, submission: Submission) -> None:
    """Write what defines the run, or check that it is the same. Raises PlanChanged with the differences."""
    if not run.store.put_if_absent(run.PLAN, plan.to_json().encode()):
        require_same_plan(run, plan)
    run.store.put_if_absent(run.RECIPE, recipe)
    run.store.put(SUBMISSION, submission.to_json().encode())


def read_plan(run: RunDir) -> RunPlan:
    """Return the run's plan. Raises UserError if the directory holds no run."""
    try:
        return RunPlan.from_json(run.store.get(run.PLAN))
    except KeyError:
        raise UserError(f"{run.url}: no run here (no {run.PLAN}); `launcher ls` shows the runs there are") from None


def read_submission(run: RunDir) -> Submission:
    """Return how the run was asked for. Raises UserError if the directory holds no run."""
    try:
        return Submission.from_json(run.store.get(SUBMISSION))
    except KeyError:
        raise UserError(f"{run.url}: no run here (no {SUBMISSION}); `launcher ls` shows the runs there are") from None


def next_attempt(run: RunDir) -> int:
    """Return the number after the last attempt's."""
    numbers = {int(key.split("/")[1]) for key in run.store.list("attempts/")}
    return max(numbers, default=0) + 1


def last_end(run: RunDir) -> RunEnded | None:
    """Return how the run ended last, or None while it is (or was, when interrupted) under way."""
    ended = None
    for event in read_journal(run):
        if event["event"] == "run_ended":
            ended = RunEnded.model_validate(event)
        elif event["event"] == "attempt_started":
            ended = None
    return ended


def require_same_plan(run: RunDir, plan: RunPlan) -> None:
    """Raise PlanChanged with the differences if the run was begun with another plan."""
    found = changes(read_plan(run), plan)
    if not found:
        return
    more = [f"... and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
    told = "\n".join(f"  {line}" for line in [*found[:SHOWN], *more])
    raise PlanChanged(f"{run.url}: this run was begun with another plan:\n{told}\nIts data order would change. "
                      "Undo the change to continue it, or start a new run with --run-dir (or another name).")
