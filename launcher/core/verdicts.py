"""What follows from an evaluation: a stage ends, goes on from its best evaluation, is repeated, or stops the run.

Pure, from numbers that all ranks have: every rank comes to the same, and a run that died before its controller had
recorded it comes to it again. The controller makes amendments of verdicts (`amendment_for`); workers save and leave.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from launcher.core.amendment import EndStage, RepeatStage
from launcher.core.events import GOING_BACK, StageVerdict
from launcher.core.forgetting import BASE, Matrix
from launcher.core.recipe_gates import Forget
from launcher.core.run_plan import RunPlan, StagePlan
from launcher.core.stage_rules import Rules, StageRules
from launcher.core.standing import Standing

Action = Literal["end", "repeat", "stop", "warn"]
LEAVING: tuple[Action, ...] = ("end", "repeat", "stop")
"""Actions after which the workers leave."""


def verdict_after(plan: RunPlan, rules: Rules, standing: Standing, step: int) -> StageVerdict | None:
    """Return what follows from the evaluation after a step; None if training just goes on."""
    if not step or standing.last is None or standing.last.step != step:
        return None
    stage = plan.stage_of(step)
    rule = rules.get(stage.name)
    if rule is None:
        return None
    found = None if stage.cut else _ended(stage, rule, standing, step)
    if found is None and step == stage.last_step and rule.forget is not None:
        found = _gated(stage, rule, rule.forget, standing.matrix, step)
    return found


def _ended(stage: StagePlan, rule: StageRules, standing: Standing, step: int) -> StageVerdict | None:
    """Return whether the stage ends here, and from where the run goes on then."""
    waited, best, stopping = standing.patience, standing.best, rule.early_stopping
    out = bool(stopping and waited and waited.since >= stopping.patience) and step < stage.last_step
    back = best.step if best is not None and best.loss is not None else step
    if not out and (step < stage.last_step or back == step):
        return None
    reasons = [_patience_lost(standing)] if out else []
    if back < step and best is not None:
        reasons.append(f"the run goes on from the stage's lowest loss on {best.source}, {best.loss:.4f} after step "
                       f"{back}")
    return _verdict(stage, step, "end", back, "; ".join(reasons))


def _patience_lost(standing: Standing) -> str:
    waited = standing.patience
    assert waited is not None, "there was something to wait for"
    loss = "no finite loss" if waited.loss is None else f"the loss of {waited.loss:.4f} after step {waited.step}"
    return f"{waited.source} did not get better than {loss} in {waited.since} evaluations"


def _gated(stage: StagePlan, rule: StageRules, gate: Forget, matrix: Matrix, step: int) -> StageVerdict | None:
    """Return what the gate at the stage's end says; None if nothing is over its limit."""
    over, unknown = _over(gate, matrix)
    if not over:
        lacks = "the untouched base was not" if gate.against == "base" else "no border before this one was"
        told = f"the gate cannot be judged for {', '.join(unknown)}: {lacks} measured"
        return _verdict(stage, step, "warn", step, told) if unknown else None
    told = "; ".join(over)
    if gate.action == "repeat" and stage.repeat < len(rule.repeats):
        told += f"; the stage is repeated with more replay, {stage.repeat + 1} of {len(rule.repeats)} times"
        return _verdict(stage, step, "repeat", stage.first_step - 1, told)
    times = "once" if stage.repeat == 1 else f"{stage.repeat} times"
    tried = f"; the stage was repeated {times} with more replay" if stage.repeat else ""
    if "warn" in (gate.action, gate.then):
        return _verdict(stage, step, "warn", step, told + tried)
    place = f"stages.{stage.index}.forget"
    told += (f"{tried}. The checkpoint of step {step} is kept: allow more in {place} to go on from it, or say action: "
             "repeat there (more times, or more replay) to do the stage again with more replay; then resume")
    return _verdict(stage, step, "stop", step, told)


def _verdict(stage: StagePlan, step: int, action: Action, go_on: int, reason: str) -> StageVerdict:
    return StageVerdict(stage=stage.name, step=step, action=action, go_on=go_on, reason=reason, repeat=stage.repeat)


def _over(gate: Forget, matrix: Matrix) -> tuple[list[str], list[str]]:
    """Return a line for each source that is over its limit, and the sources that cannot be judged."""
    over, unknown, found = list[str](), list[str](), matrix.forgotten()
    for source, limit in gate.limits.items():
        each = found.get(source)
        # Its own loss would be its best: nothing is forgotten of what nobody knows.
        first = all(border.losses.get(source) is None for border in matrix.borders[:-1])
        lacks = first if gate.against == "best" else each is not None and each.from_base is None
        if each is None or (lacks and each.loss is not None):
            unknown.append(source)
            continue
        share = each.relative if gate.against == "best" else each.from_base
        where = BASE if gate.against == "base" else each.best_at
        if each.loss is None:
            over.append(f"the loss on {source} is not finite")
        elif share is not None and share > limit:
            than = "the base's" if where == BASE else f"that after {where}"
            over.append(f"{source} has a loss of {each.loss:.4f}, {share:.1%} over {than}: {limit:.1%} are allowed")
    return over, unknown


def amendment_for(plan: RunPlan, rules: Rules, event: Mapping[str, Any]) -> EndStage | RepeatStage | None:
    """Return the amendment that a `verdict` event stands for; None if it needs none, or the plan has it already."""
    stage = next((each for each in plan.stages if each.name == event["stage"]), None)
    if stage is None or event["action"] not in GOING_BACK:
        return None
    go_on, reason = int(event["go_on"]), str(event["reason"])
    if event["action"] == "end":
        if stage.cut or not stage.first_step <= go_on <= stage.last_step:
            return None
        return EndStage(from_step=go_on + 1, reason=reason, stage=stage.index)
    repeats = rules[stage.name].repeats if stage.name in rules else ()
    if go_on != stage.first_step - 1 or event.get("repeat", stage.repeat) != stage.repeat:
        return None
    if stage.repeat >= len(repeats):
        return None
    return RepeatStage(from_step=stage.first_step, reason=reason, was=stage, stage=repeats[stage.repeat])


def saved_steps(events: Iterable[Mapping[str, Any]]) -> list[int]:
    """Return the steps whose commits a journal tells, in order, without those that the run went back from."""
    saved: list[int] = []
    left: Mapping[str, Any] = {}
    for event in events:
        if event["event"] == "checkpoint_committed":
            # What was being written when the workers left is told after the verdict.
            late = event.get("attempt") == left.get("attempt", -1) and event["step"] > left["go_on"]
            saved += [] if late else [int(event["step"])]
        elif event["event"] == "verdict" and event["action"] in GOING_BACK:
            saved, left = [step for step in saved if step <= event["go_on"]], event
    return saved
