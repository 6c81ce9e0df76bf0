"""One start of a run, and a stop at a random moment of it: the ways to ask, and what must have come of it.

Decides what counts as right: asked with time enough the run has saved every step that it did and the command ends with
75, or with 0 if nothing was left to do; without, the checkpoint that was the last stays the last; in any case no
process and no folder is left. That what follows is the unbroken run is `benchmarks.stops`.
"""

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from random import Random

from benchmarks.harness import environment, launcher
from benchmarks.stop_moments import Phase, Watched, until
from launcher.core.drill import first_step_after, recovery
from launcher.core.errors import FINISHED, YIELDED
from launcher.core.events import StopRequested
from launcher.orchestration.drilled_command import Command
from launcher.storage.checkpoints import Checkpoints
from launcher.storage.lock import token_of
from launcher.storage.process_id import ProcessId
from launcher.storage.run_dir import RunDir
from launcher.storage.stop_file import StopFile, ask_stop

LEAVING_S = 4.0
"""Before a deadline the controller ends workers that are late."""
NEED_S = 3.0
"""More than a step and a save of this model take on a machine that does other things too."""
OVER_S = 4.0
"""After a deadline: Ray's end takes two seconds, and the machine does other things too."""


@dataclass(frozen=True, slots=True)
class Asked:
    """How a run is asked to stop."""

    phase: Phase
    way: str
    grace: float | None = None
    """Seconds until everything is killed, as batch systems do; None: it takes its time."""
    deadline: float | None = None
    """Seconds that the request itself gives."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it."""

    found_in: str
    """The phase at that moment, as it was seen."""
    step: int
    """The last one done."""
    committed: int
    """The last checkpoint's."""
    exit_code: int | None
    """None: the command went on, or was killed when the grace was over."""
    seconds: float
    """Until the command ended, or went on."""
    problems: tuple[str, ...]


Way = Callable[[Command, Random, StopRequested], object]


def _to(victim: Callable[[Command, Random], ProcessId | None]) -> Way:
    return lambda command, chance, _request: (found := victim(command, chance)) and found.signal(signal.SIGTERM)


def _to_all(command: Command, _chance: Random, _request: StopRequested) -> object:
    return [each.signal(signal.SIGTERM) for each in command.living.family()]


def _stop_file(command: Command, _chance: Random, request: StopRequested) -> object:
    ask_stop(command.run, token_of(command.run), StopFile(request=request, time=time.time()))
    return True


def _launcher_stop(command: Command, _chance: Random, request: StopRequested) -> object:
    within = [] if request.deadline is None else ["--within", f"{max(1, round(request.deadline - time.time()))}s"]
    done = subprocess.run(launcher("stop", str(command.run.path), "--no-wait", *within), env=environment(),
                          capture_output=True, check=False)
    return done.returncode == 0


AGENT = "SIGTERM to the agent"
"""A platform takes the node away: the run goes on elsewhere, here with another agent on the same node."""
WAYS: dict[str, Way] = {
    "SIGTERM to a rank": _to(lambda command, chance: chance.choice(command.living.workers() or [None])),
    AGENT: _to(lambda command, _chance: command.living.agent()),
    "SIGTERM to the controller": _to(lambda command, _chance: command.living.controller()),
    "SIGTERM to the command": _to(lambda command, _chance: command.living.command),
    "SIGTERM to all at once": _to_all,
    "stop file": _stop_file,
    "launcher stop": _launcher_stop,
}
REQUESTS = ("stop file", "launcher stop")
"""Ways that can name a deadline."""


def draw(phase: Phase, chance: Random, longest_s: float) -> Asked:
    """Draw a way that ends the command and exists in a phase, and in a third of all how little time there is."""
    early = ("SIGTERM to a rank",) if phase in ("preparing", "starting") else ()
    asked = Asked(phase, chance.choice([name for name in WAYS if name not in (AGENT, *early)]))
    if chance.random() > 1 / 3:
        return asked
    if asked.way in REQUESTS and chance.random() < 0.5:
        return replace(asked, deadline=LEAVING_S + chance.uniform(-2.0, longest_s))
    return replace(asked, grace=chance.uniform(0.0, longest_s))


def stop(command: Command, seen: Watched, asked: Asked, committed: int, chance: Random) -> Outcome | None:
    """Ask now, wait for what comes of it, and judge that; None if there is nobody to ask any more.

    `committed` is the last checkpoint before this start.
    """
    command.look(now=True)
    now, found_in = time.time(), seen.phase()
    request = StopRequested(reason="stop_command", deadline=None if asked.deadline is None else now + asked.deadline)
    if not WAYS[asked.way](command, chance, request):
        return None
    grace_ends = time.monotonic() + (1e9 if asked.grace is None else asked.grace)
    gone_on = partial(first_step_after, attempt=seen.attempt)
    until(command, lambda: gone_on(command.events()) if asked.way == AGENT else time.monotonic() > grace_ends)
    seconds, code = time.time() - now, command.exit_code()
    if code is None and asked.way != AGENT:
        command.end()
    done, saved = _done(command, seen, committed), last_saved(command.run)
    problems: list[str] = []
    if code is None and asked.way == AGENT:
        problems += _redone(command, seen, now)
    elif code is not None:
        problems += [*judged(asked, code, seconds, done, saved, command.said()[-600:]), *command.left()]
    if saved < committed:
        problems.append(f"step {committed} was saved, and the last checkpoint is of {saved}")
    return Outcome(found_in, done, saved, code, seconds, tuple(problems))


def judged(asked: Asked, code: int, seconds: float, done: int, saved: int, said: str) -> Iterator[str]:
    """Yield what is wrong with how and when a command ended, and with what was saved of the steps that were done."""
    may_finish = asked.phase not in ("preparing", "starting", "loading")
    if code != YIELDED and not (code == FINISHED and may_finish):
        yield f"the command ended with {code}: {said}"
    if asked.deadline is not None and seconds > max(asked.deadline, LEAVING_S) + OVER_S:
        yield f"it left {seconds - asked.deadline:.1f} s after the deadline"
    if saved < done and (asked.deadline is None or asked.deadline > LEAVING_S + NEED_S):
        yield f"step {done} was done, and {saved} saved"


def _redone(command: Command, seen: Watched, now: float) -> Iterator[str]:
    """Yield how many steps a run that went on by itself did again."""
    found = recovery(command.events(), seen.attempt, now, None).redone
    if found:
        yield f"{found} steps were done again"


def _done(command: Command, seen: Watched, committed: int) -> int:
    """Return the last step that this start did, as far as it is journalled; else where it began."""
    steps = [event["step"] for event in command.events() if event["event"] == "step"
             and event["attempt"] >= seen.attempt]
    return max(steps, default=committed)


def last_saved(run: RunDir) -> int:
    """Return the step of the last checkpoint; 0 before the first."""
    return max(Checkpoints(run).committed(), default=0)
