"""What a run directory gets when its run begins, and what is compared when the same command comes again.

Starting is resuming from nothing: the first command writes plan and recipe, every later one must bring the same plan,
or one that differs only in what is still to come.
"""

from launcher.core.amending import amend, amended, asked_otherwise, carried, told
from launcher.core.amendment import ChangeStages
from launcher.core.document import Document
from launcher.core.errors import PlanChanged, UserError
from launcher.core.events import RunEnded
from launcher.core.recipe import Recipe
from launcher.core.run_plan import RunPlan
from launcher.storage.amendments import add_amendment, amendments
from launcher.storage.checkpoints import Checkpoints
from launcher.storage.journal import read_journal
from launcher.storage.run_dir import RunDir

SUBMISSION = "submission.json"


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
    origin: str = ""
    """Where the recipe was written, if the given file is a copy of it."""
    without_ray: bool = False


def begin_run(run: RunDir, plan: RunPlan, recipe: bytes, submission: Submission) -> ChangeStages | None:
    """Write what defines the run, or record how its plan changes from here on, and return that change.

    Raises PlanChanged with the differences if something differs that has begun already.
    """
    amendment = None
    if not run.store.put_if_absent(run.PLAN, plan.to_json().encode()):
        amendment = change_of(run, plan)
        if amendment is not None:
            add_amendment(run, amendment)
    run.store.put_if_absent(run.RECIPE, recipe)
    run.store.put(SUBMISSION, submission.to_json().encode())
    return amendment


def change_of(run: RunDir, plan: RunPlan) -> ChangeStages | None:
    """Return how a plan changes what is still to come of a run; None if it does not. Raises PlanChanged otherwise."""
    before, ended, made = read_plan(run), last_end(run), amendments(run)
    carrying = carried(before, plan, made)
    finished = ended is not None and ended.outcome == "finished"
    done = before.steps if finished else max(Checkpoints(run).committed(), default=0)
    try:
        return amend(before, carrying, done)
    except ValueError as error:
        found = told(asked_otherwise(before, plan, made)) or error
        raise PlanChanged(f"{run.url}: this run was begun with another plan:\n{found}\nOnly stages after step {done}, "
                          "the last that is saved, may change. Undo the change to continue it, or start a new run with "
                          "--run-dir (or another name).") from None


def read_plan(run: RunDir) -> RunPlan:
    """Return the run's plan with its amendments. Raises UserError if the directory holds no run."""
    try:
        plan = RunPlan.from_json(run.store.get(run.PLAN))
    except KeyError:
        raise UserError(f"{run.url}: no run here (no {run.PLAN}); `launcher ls` shows the runs there are") from None
    except ValueError:
        raise UserError(_not_ours(run, run.PLAN)) from None
    return amended(plan, amendments(run))


def read_submission(run: RunDir) -> Submission:
    """Return how the run was asked for. Raises UserError if the directory holds no run."""
    try:
        return Submission.from_json(run.store.get(SUBMISSION))
    except KeyError:
        raise UserError(f"{run.url}: no run here (no {SUBMISSION}); `launcher ls` shows the runs there are") from None
    except ValueError:
        raise UserError(_not_ours(run, SUBMISSION)) from None


def _not_ours(run: RunDir, name: str) -> str:
    return (f"{run.url}/{name}: not a file that this version of launcher has written, or it was damaged since; put it "
            "back, or name another run")


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

