"""The learning rate of a step: a closed form, so that nothing about it needs saving.

Decides the curve inside a stage. Which steps a stage has, and its peak rate, is the plan.
"""

import math

from launcher.core.run_plan import StagePlan


def learning_rate(stage: StagePlan, step: int) -> float:
    """Return the rate of a step, counted from 1 over the whole run as in `stage.first_step`."""
    if not stage.first_step <= step <= stage.last_step:
        raise IndexError(f"step {step} is not in stage {stage.name}: {stage.first_step}..{stage.last_step}")
    done = step - stage.first_step + 1
    warmup = math.ceil(stage.schedule.warmup * stage.steps)
    # The first step already learns: step i of w warm-up steps has i/w of the peak, and i counts from 1.
    if done <= warmup:
        return stage.learning_rate * done / warmup
    return stage.learning_rate * _decay(stage, (done - warmup) / max(1, stage.steps - warmup))


def _decay(stage: StagePlan, progress: float) -> float:
    """Return the share of the peak after `progress` of the steps that follow the warm-up; 1 is the last step."""
    minimum = stage.schedule.minimum
    match stage.schedule.kind:
        case "constant":
            return 1.0
        case "linear":
            return 1.0 - (1.0 - minimum) * progress
        case "cosine":
            return minimum + (1.0 - minimum) * (1.0 + math.cos(math.pi * progress)) / 2.0
