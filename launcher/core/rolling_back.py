"""What to leave out of a run that diverged, and when to end it instead.

Pure; the controller records the amendment and starts again. From where follows by itself: a checkpoint that has seen a
step that is left out now is of another past (`RunPlan.chain`), so the newest one before it is taken.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from launcher.core.amending import amend_skip
from launcher.core.amendment import SkipRows
from launcher.core.divergence import WINDOW
from launcher.core.run_plan import RunPlan


def skip_of(plan: RunPlan, event: Mapping[str, Any]) -> SkipRows | None:
    """Return the amendment for a `step` event whose update was not applied; None for all others."""
    if event["applied"] or event.get("skipped", False):
        return None
    return amend_skip(plan, [event["step"]], "its loss or gradient was not finite")


def after_divergence(plan: RunPlan, failed: Sequence[int], committed: Collection[int], rollbacks: int,
                     reason: str) -> SkipRows | None:
    """Return what to leave out before going back; None if the run ends.

    `failed` are the steps of all the run's divergence failures, the last of them now; `committed` the steps of its
    checkpoints; `plan` has every amendment so far, those of steps that were not finite too. Such a step is no reason to
    go back: its update was not applied, and it failed because there were too many.
    """
    step = failed[-1]
    if step in plan.skipped_steps or rollbacks_since_good(plan, failed) > rollbacks:
        return None
    return amend_skip(plan, [step, *_led_to_it(plan, step, committed)], reason)


def rollbacks_since_good(plan: RunPlan, failed: Sequence[int]) -> int:
    """Return how many of the last failures, the present one included, came without a new stage or enough good steps
    between them."""
    count = 1
    for before, after in zip(failed[-2::-1], failed[:0:-1], strict=True):
        if plan.stage_of(before).index != plan.stage_of(after).index or abs(after - before) >= WINDOW:
            break
        count += 1
    return count


def _led_to_it(plan: RunPlan, step: int, committed: Collection[int]) -> list[int]:
    """Return the step before those that are left out already, if the new one follows them at once.

    Its rows then are hardly at fault: the weights were damaged before. Not if no checkpoint would be left to go back
    to, and never into an earlier stage.
    """
    first = step
    while first - 1 in plan.skipped_steps:
        first -= 1
    led = first - 1
    if first == step or led < plan.stage_of(step).first_step:
        return []
    return [led] if not committed or min(committed) < led else []
