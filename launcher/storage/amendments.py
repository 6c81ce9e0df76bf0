"""The amendments of a run, one file each: what its plan has become since it began.

Written by whoever holds the run: the command that continues it with other stages, or its controller. What an amendment
does to a plan is `core.amending`.
"""

from launcher.core.amending import amended, missing_skips
from launcher.core.amendment import Amendment, SkipRows, amendment_from_json
from launcher.core.errors import UserError
from launcher.core.run_plan import RunPlan
from launcher.storage.checkpoints import Checkpoints
from launcher.storage.run_dir import RunDir
from launcher.storage.slice_files import Damaged

FOLDER = "amendments/"


def amendments(run: RunDir) -> list[Amendment]:
    """Return all of a run's amendments, in order. Raises UserError where one cannot be read."""
    return [_amendment(run, key) for key in sorted(run.store.list(FOLDER))]


def _amendment(run: RunDir, key: str) -> Amendment:
    try:
        return amendment_from_json(run.store.get(key))
    except ValueError:
        raise UserError(f"{run.url}/{key}: not a file that this version of launcher has written, or it was damaged "
                        "since; put it back") from None


def add_amendment(run: RunDir, amendment: Amendment) -> None:
    """Record one more amendment, behind all that there are. Only for who holds the run."""
    number = len(list(run.store.list(FOLDER))) + 1
    run.store.put(f"{FOLDER}{number:04d}.json", amendment.to_json().encode())


def restore_skips(run: RunDir, plan: RunPlan) -> tuple[RunPlan, SkipRows | None]:
    """Record what the newest readable checkpoint knows to be left out and the amendments do not; return plan and it.

    For a controller that starts, before it asks which checkpoint to continue from: the one before may have died after
    a checkpoint was committed and before it had recorded the amendment. Otherwise that checkpoint would be rejected.
    """
    checkpoints = Checkpoints(run)
    for step in checkpoints.committed():
        try:
            manifest = checkpoints.manifest(step)
        except Damaged:
            continue
        if manifest.chain == plan.chain(step):
            break
        if (found := missing_skips(plan, manifest)) is not None:
            add_amendment(run, found)
            return amended(plan, [found]), found
    return plan, None
