"""The ways in which a run is hurt from inside its processes, at random moments, and what each must come to.

After each: the final weights, losses, rows and evaluations of the unbroken run bit for bit (after a NaN: of a run that
left its step out from the beginning), the ledger proven, no process left. Of a hang also: found in time, stacks of
every rank that can answer, a page that says which rank and where. Everything drawn follows from the given chance; how
workers are made to break is `benchmarks.breaking`.
"""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import inf
from random import Random

from benchmarks.breaking import Broken, Fault, Place, finish, hang_problems, keep_full, limit_s, small_disk, stalls
from launcher.core.amending import amend_skip
from launcher.core.amendment import SkipRows
from launcher.core.attempt import AttemptPlan
from launcher.core.drill import differences, first_step_after, rounding_from
from launcher.core.errors import INFRASTRUCTURE
from launcher.orchestration.faults import fault
from launcher.storage.amendments import add_amendment, amendments
from launcher.storage.journal import read_journal
from launcher.storage.run_start import last_end, read_plan

WHOLE = "whole"
"""The unbroken run's name."""
STEPS, EVERY = 8, 2
"""Of each of the three stages, and between checkpoints."""
LAST = 3 * STEPS - 6
"""From here on too little is left to be hurt in."""
IN_A_STEP = ("data", "forward", "step")

Draw = Callable[[Random], list[Fault]]


def somewhere(chance: Random, do: str, *places: str, first: int = EVERY + 1, last: int = LAST) -> Fault:
    """Return a fault at a random step of a random rank."""
    return {"do": do, "place": chance.choice(places), "rank": chance.randrange(2), "step": chance.randint(first, last)}


def first_step_again(chance: Random) -> list[Fault]:
    failed = somewhere(chance, "raise", "forward")
    return [failed, {**failed, "do": "sleep", "place": "data", "step": 1, "after": 0}]


def loading(chance: Random) -> list[Fault]:
    """Fail in the first attempt's load, or when the second one reads a checkpoint."""
    fails = {"do": chance.choice(("raise", "kill")), "place": "loading", "rank": chance.randrange(2), "step": 0}
    if chance.random() < 0.5:
        return [fails]
    return [somewhere(chance, "raise", "forward", first=3 * EVERY), {**fails, "step": 1, "after": 0}]


def saving(chance: Random) -> list[Fault]:
    do, place = chance.choice((("unwritten", "writing"), ("kill", "writing"), ("kill", "written"), ("raise", "saving")))
    return [somewhere(chance, do, place)]


def evaluating(chance: Random) -> list[Fault]:
    return [{"do": chance.choice(("raise", "kill")), "place": "evaluating", "rank": chance.randrange(2),
             "step": STEPS * chance.randrange(4), "count": chance.randint(1, 4)}]


def broken(place: Place, name: str, chance: Random, draw: Draw, *, ray: bool = False, hang: bool = False) -> Broken:
    """Let a run break as drawn, and expect it to end as the unbroken one."""
    faults = draw(chance)
    drill = place.broken(name, faults, ray=ray)
    with drill.begun(name) as command:
        codes = [finish(command)]
    became = Broken(place.fired(name), codes, problems=drill.compared(WHOLE, name))
    if len(became.fired) < len(faults):
        became.problems.append(f"{len(became.fired)} of {faults} happened")
    elif hang:
        _look_at_hang(place, name, became)
    return became


def _look_at_hang(place: Place, name: str, became: Broken) -> None:
    run, last = place.drill().run_dir(name), became.fired[-1]
    became.problems += hang_problems(run, last["rank"], mute=False)
    became.limit_s = limit_s(place.drill().run_dir(WHOLE), last["phase"])
    became.found_s = next((event["time"] - last["time"] for event in stalls(run)), None)
    _require_in_time(became)


def _require_in_time(became: Broken) -> None:
    if became.found_s is None or became.limit_s is None or became.found_s > became.limit_s:
        became.problems.append(f"the hang was found after {became.found_s} s, where the limit is {became.limit_s} s")


def stopped(place: Place, name: str, chance: Random) -> Broken:
    """Stop a rank under Ray by SIGSTOP."""
    drill = place.drill(ray=True)
    trial = drill.hurt(name, WHOLE, [fault("a rank stopped by SIGSTOP")], chance)[0]
    told = stalls(drill.run_dir(name))
    became = Broken([{"step": trial.step}], [0], trial.recovery.found_s, limit_s(drill.run_dir(WHOLE), "step"),
                    list(trial.problems))
    became.problems += hang_problems(drill.run_dir(name), told[0]["rank"] if told else 0, mute=True)
    _require_in_time(became)
    return became


def not_finite(place: Place, name: str, chance: Random) -> Broken:
    """Let a loss or a gradient be NaN, and compare with a run that left that step's rows out from the beginning."""
    bad = {**somewhere(chance, chance.choice(("loss", "gradient")), "losses"), "exactly": True, "always": True}
    without, drill = f"{name}-without", place.broken(name, [bad])
    skip = amend_skip(read_plan(drill.run_dir(WHOLE)), [bad["step"]], "left out from the beginning")
    assert skip is not None, "the step is in the plan"
    add_amendment(drill.run_dir(without), skip)
    place.drill().unbroken(without)
    with drill.begun(name) as command:
        codes = [finish(command)]
    problems = drill.compared(without, name)
    if bad["do"] == "gradient":
        # The loss of that step was computed and is told; without it there is none.
        only = f"step {bad['step']} is the first of 1 that differ or are missing"
        problems = [each for each in problems if each != only]
    recorded = [each.steps for each in amendments(drill.run_dir(name)) if isinstance(each, SkipRows)]
    attempts = {event["attempt"] for event in read_journal(drill.run_dir(name))}
    if recorded != [(bad["step"],)] or attempts != {1}:
        problems.append(f"left out are {recorded}, in {len(attempts)} attempts")
    drill.forget(without)
    return Broken([{**bad, **place.fired(name)[0]}], codes, problems=problems)


def full(place: Place, name: str, chance: Random, *, for_good: bool) -> Broken:
    """Fill the disk that the run is on; make room again after a while, or only when the command has given up."""
    drill, step, while_s = place.drill(), chance.randint(EVERY + 1, LAST), chance.uniform(0.1, 2.0)
    with small_disk(drill.run_dir(name).path) as filler:
        with drill.begun(name) as command:
            command.until(lambda: command.latest("step", "step") >= step, f"step {step}")
            until = inf if for_good else time.monotonic() + while_s
            command.until(keep_full(filler, lambda: command.exit_code() is not None or time.monotonic() > until),
                          "the end of the command", may_end=True)
            if not for_good:
                filler.unlink()
            codes = [finish(command, (INFRASTRUCTURE,) if for_good else (0, INFRASTRUCTURE))]
            problems = _told_once(command.said()) if codes[0] else []
        filler.unlink(missing_ok=True)
        problems += _continued(place, name, codes)
        if problems:
            shutil.copytree(drill.run_dir(name).path, drill.folder / f"{name}-kept")
    return Broken([{"step": step, "full_s": None if for_good else while_s}], codes, problems=problems)


def _told_once(said: str) -> list[str]:
    told = said[said.rfind("attempt "):]
    return [] if "No space left on device" in told and "make room" in told else [f"no clear last words: {said}"]


def _continued(place: Place, name: str, codes: list[int]) -> list[str]:
    """Give the same command again where the first one ended early; return in what its end is not the unbroken one's."""
    drill = place.drill()
    ended = last_end(drill.run_dir(name))
    if codes[-1] != 0 or ended is None:
        with drill.begun(name) as command:
            codes.append(finish(command))
    return drill.compared(WHOLE, name)


def unsaved(place: Place, name: str, chance: Random) -> Broken:
    """Let no save succeed any more: the run ends and says so, and goes on once they do."""
    never = {**somewhere(chance, "unwritten", "writing", last=LAST - 4 * EVERY), "always": True}
    with place.broken(name, [never]).begun(name) as command:
        codes = [finish(command, (INFRASTRUCTURE,))]
        said = command.said()
    problems = [] if "3 checkpoints in a row could not be saved" in said else [f"no clear last words: {said}"]
    problems += _continued(place, name, codes)
    return Broken(place.fired(name), codes, problems=problems)


def halved(place: Place, name: str, chance: Random) -> Broken:
    """Let a rank run out of memory where the recipe halves, then lose the controller: what fits must not be forgotten.

    Fewer rows at once add the same numbers in another order, so losses may differ by rounding.
    """
    short = somewhere(chance, "memory", "forward", last=LAST // 2)
    drill = place.broken(name, [short], "--set", "out_of_memory=halve")
    with drill.begun(name) as command:
        command.until(lambda: first_step_after(command.events(), 1), "a step with half the rows")
        lost = fault("the controller killed").strike(command.living, chance)
        codes = [finish(command)]
    whole, run = (drill.run_dir(each) for each in (WHOLE, name))
    problems = differences(list(read_journal(whole)), list(read_journal(run)), rounding_from(1))
    orders = [run.store.get(run.attempt_key(attempt, "attempt.json"))
              for attempt in sorted({event["attempt"] for event in read_journal(run)})]
    rows = [AttemptPlan.from_json(text).micro_batch for text in orders]
    if not lost or rows != [rows[0], rows[0] // 2, rows[0] // 2]:
        problems.append(f"rows at once in each attempt: {rows}; the controller was {'' if lost else 'not '}killed")
    return Broken(place.fired(name), codes, problems=problems)


@dataclass(frozen=True, slots=True)
class Scene:
    """One way to hurt a run."""

    name: str
    act: Callable[[Place, str, Random], Broken]


def _scene(name: str, draw: Draw, **more: bool) -> Scene:
    return Scene(name, partial(broken, draw=draw, **more))


SCENES = (
    Scene("a rank stopped by SIGSTOP, under Ray", stopped),
    _scene("a rank holds its interpreter", lambda chance: [somewhere(chance, "hold", *IN_A_STEP)], hang=True),
    _scene("a rank holds its interpreter, under Ray", lambda chance: [somewhere(chance, "hold", *IN_A_STEP)],
           hang=True, ray=True),
    _scene("a rank waits for ever", lambda chance: [somewhere(chance, "sleep", "data", "forward")], hang=True),
    _scene("a rank waits for ever in the first step of an attempt", first_step_again, hang=True),
    _scene("an exception at a step", lambda chance: [somewhere(chance, "raise", *IN_A_STEP)], ray=True),
    Scene("a loss or gradient is NaN", not_finite),
    _scene("a failure while loading", loading),
    _scene("a failure while saving", saving),
    _scene("a failure while evaluating", evaluating),
    Scene("a full disk, and room again", partial(full, for_good=False)),
    Scene("a full disk for good", partial(full, for_good=True)),
    Scene("saves that fail for good", unsaved),
    Scene("out of memory, then the controller killed", halved),
)
