"""The body of `launcher stop RUN`: asks whoever works on a run to stop, from any process or host that sees the run.

Decides that asking a second time means at once. How a run stops is the controller's; one that is still being prepared
is left as if it had never been (`cli.holding`). What becomes of its job in Slurm's queue is `cli.stop_job`.
"""

import json
import sys
import time
from contextlib import suppress
from typing import Any

from rich.console import Console

from launcher.cli.find_run import find_run
from launcher.cli.following import follow
from launcher.cli.queue import sight
from launcher.cli.status import status_fields
from launcher.cli.stop_job import JobStop
from launcher.core.errors import UserError
from launcher.core.events import StopRequested
from launcher.core.quantities import parse_seconds
from launcher.report.fitting import columns, commands
from launcher.report.fold import RunFold
from launcher.report.known import known
from launcher.report.next_command import next_command
from launcher.report.summary import headline
from launcher.report.words import duration
from launcher.storage.lease import Claim
from launcher.storage.lock import living_holders, token_of
from launcher.storage.run_dir import RunDir
from launcher.storage.stop_file import StopFile, ask_stop, stops_asked


def stop(argument: str, *, within: str | None, now: bool, wait: bool, as_json: bool) -> None:
    """Ask a run to stop, and unless told otherwise wait until it has."""
    run, shown = find_run(argument)
    seconds = _within(within)
    console = Console(file=sys.stderr if as_json else sys.stdout, highlight=False, soft_wrap=not sys.stdout.isatty())
    # Before anybody is asked: the run's job must not take its end for one that it goes on from.
    jobs = JobStop(run, lambda line: console.print(line, markup=False))
    asked = holder = living_holders([run], lambda line: console.print(line, style="dim", markup=False))[0]
    if asked is not None:
        _ask(run, asked, seconds, now=now, console=console)
        if wait:
            holder = _wait(run, shown, console)
    jobs.end(asked=asked is not None, held=holder is not None, wait=wait)
    timed = list[dict[str, Any]]()
    fold = known(run, alive=holder is not None, timed=timed)
    if as_json:
        sys.stdout.write(json.dumps(status_fields(run, fold, timed, holder, sight(run)), indent=1) + "\n")
    else:
        console.print(_told(run, shown, fold, asked=asked is not None or jobs.cancelled, goes_on=holder is not None),
                      markup=False)


def _told(run: RunDir, shown: str, fold: RunFold, *, asked: bool, goes_on: bool) -> str:
    """Return what came of it, and what to type next."""
    width = columns(sys.stdout)
    if goes_on:
        return commands("next   ", f"launcher status {shown} --watch    launcher stop {shown} --now", width)
    if not run.store.exists(run.PLAN) and asked:
        return f"{shown} was stopped before it began; the same command starts it"
    said = headline(fold) if asked else _nobody(shown, fold)
    return f"{said}\n{commands('next   ', next_command(run, shown, fold), width)}"


def _within(text: str | None) -> float | None:
    try:
        return None if text is None else float(parse_seconds(text))
    except ValueError as error:
        raise UserError(f"--within {text}: {error}") from None


def _ask(run: RunDir, holder: Claim, seconds: float | None, *, now: bool, console: Console) -> None:
    token = token_of(run)
    again = any(asked.request.reason == "stop_command" for asked in stops_asked(run, token))
    deadline = None if seconds is None else time.time() + seconds
    request = StopRequested(reason="stop_command", deadline=deadline)
    ask_stop(run, token, StopFile(request=request, at_once=now or again, time=time.time()))
    if now or again:
        told = f"asked {holder} to stop at once; what was saved last stands"
    else:
        by = "" if seconds is None else f" within {duration(seconds)}"
        told = (f"asked {holder} to stop{by}: workers finish their step, save and leave\n"
                "(a second `launcher stop` does not wait for that)")
    console.print(told, markup=False)


def _wait(run: RunDir, shown: str, console: Console) -> Claim | None:
    """Wait until nobody works on the run; return the holder if a person would not wait for that."""
    with suppress(KeyboardInterrupt):
        follow(run, console)
        return None
    console.print(f"not waiting any longer: {shown} is still stopping")
    return living_holders([run])[0]


def _nobody(shown: str, fold: RunFold) -> str:
    state = fold.status(alive=False).state
    return f"{shown}: nobody works on this run, so there is nothing to stop; it is {state}"
