"""The bodies of `launcher status` and `launcher ls`: what the journals say of runs, also of those that died, and what
Slurm's queue says of their jobs."""

import json
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.console import Console

from launcher.cli.find_run import find_run, run_urls
from launcher.cli.following import follow
from launcher.cli.job_words import job_words
from launcher.cli.presence import Presence
from launcher.cli.queue import Sight, fields, sentence, sight, sights, state_with
from launcher.cli.runs_table import print_runs
from launcher.core.account import account
from launcher.core.errors import UserError
from launcher.core.events import RunState
from launcher.report.efficiency import recent_efficiency
from launcher.report.facts import facts
from launcher.report.fitting import BETWEEN, columns, commands, wrapped
from launcher.report.fold import RunFold, RunStatus
from launcher.report.known import known
from launcher.report.next_command import next_command
from launcher.report.page.beside import plan_of
from launcher.report.page.history import History
from launcher.report.panel import labelled, panel
from launcher.report.readings import last_scores, readings, readings_by_source
from launcher.report.summary import told_failures
from launcher.report.time_spent import time_fields, time_line
from launcher.report.words import duration
from launcher.storage.lease import Claim
from launcher.storage.lock import HolderWatch, living_holders
from launcher.storage.run_dir import RunDir

WATCH_S = 1.0
VERDICT = ("stage", "step", "action", "go_on", "reason")
"""Fields of a verdict that `--json` has."""


def status(argument: str, *, as_json: bool, watch: bool = False) -> None:
    """Print where a run stands; with `watch`, again and again until nobody works on it."""
    run, shown = find_run(argument)
    if watch and as_json:
        _print_changes(run)
        return
    if watch:
        # Whoever has seen enough types Ctrl-C and reads the last state.
        with suppress(KeyboardInterrupt):
            follow(run, Console(file=sys.stdout), Presence(run, tell))
    holder, = living_holders([run], tell)
    history = History()
    timed = list[dict[str, Any]]()
    fold = known(run, alive=holder is not None, history=None if as_json else history, timed=timed)
    seen = sight(run)
    if as_json:
        sys.stdout.write(json.dumps(status_fields(run, fold, timed, holder, seen), indent=1) + "\n")
    else:
        _print(run, shown, history, timed, holder, seen)


def status_fields(run: RunDir, fold: RunFold, timed: list[dict[str, Any]], holder: Claim | None,
                  seen: Sight) -> dict[str, Any]:
    """Return what `--json` prints of a run; `timed` are its events as its account asks for them."""
    stands = status_of(run, fold, holder, seen).model_dump(mode="json")
    return {**stands, **readings(fold, plan_of(run)), **readings_by_source(fold), "scores": last_scores(fold),
            "device": (fold.last_step or {}).get("device"), "forgetting": _forgetting(fold),
            "stragglers": fold.stragglers.fields(),
            "verdicts": [{name: event[name] for name in VERDICT} for event in fold.verdicts], "run_dir": run.url,
            "holder": None if holder is None else str(holder), "job": fields(seen),
            "account": time_fields(account(timed, time.time() if holder is not None else None))}


def _forgetting(fold: RunFold) -> dict[str, Any]:
    """Return the matrix as `--json` prints it: losses by border, what is forgotten at the last, and transfer."""
    matrix = fold.matrix
    return {"borders": [{"name": border.name, **border.model_dump(mode="json")} for border in matrix.borders],
            "forgotten": {name: each.model_dump(mode="json") for name, each in matrix.forgotten().items()},
            "transfer": matrix.transfer().model_dump(mode="json"),
            "transfer_of_accuracy": matrix.transfer_of_accuracy().model_dump(mode="json")}


def status_of(run: RunDir, fold: RunFold, holder: Claim | None, seen: Sight) -> RunStatus:
    """Return a run's status from its journal, its holder and its job."""
    stands = fold.status(alive=holder is not None)
    # A run whose job has not begun has no journal to take its name from.
    return stands.model_copy(update={"name": stands.name or run.name, "state": _state(fold, holder, seen)})


def _state(fold: RunFold, holder: Claim | None, seen: Sight) -> RunState:
    journal = fold.status(alive=holder is not None).state
    return state_with(seen, journal, held=holder is not None, attempts=fold.attempt)


def _print(run: RunDir, shown: str, history: History, timed: list[dict[str, Any]], holder: Claim | None,
           seen: Sight) -> None:
    console, width, fold = Console(file=sys.stdout), columns(sys.stdout), history.fold
    alive, now = holder is not None, time.time()
    fold.name = fold.name or run.name
    plan = plan_of(run)
    told = facts(history, plan, ascii_only=console.options.ascii_only)
    console.print(panel(fold, alive=alive, now=now if alive else None, state=_state(fold, holder, seen), facts=told,
                        mfu=recent_efficiency(plan, fold).mfu), highlight=False)
    if spent := time_line(account(timed, now if alive else None)):
        console.print(labelled("time", spent), highlight=False)
    if fold.failures and fold.end:
        console.print(told_failures(run, shown, fold).rstrip(), highlight=False, markup=False, soft_wrap=True)
    if told := sentence(seen):
        _line(console, wrapped("job       ", told.removeprefix("job "), width))
    words = None if alive else job_words(run, seen, fold)
    if words and words.said:
        _line(console, wrapped("said      ", words.said, width))
    if alive or fold.last_time:
        console.print(_heard(fold, holder, now), highlight=False)
    goes_on = alive or (seen.live and not seen.needless)
    following = next_command(run, shown, fold, alive=goes_on)
    # Where Slurm alone knows where the job's output is.
    reading = f"less {words.log}{BETWEEN}" if words and "less " not in following else ""
    _line(console, commands("next      ", reading + following, width))


def _line(console: Console, line: str) -> None:
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def _heard(fold: RunFold, holder: Claim | None, now: float) -> str:
    """Return who works on the run, or since when nobody does."""
    ago = f"{duration(max(0.0, now - fold.last_time))} ago" if fold.last_time else "never"
    if holder is not None:
        return f"holder    {holder}, last event {ago}"
    return f"{'ended' if fold.end else 'heard':<10}{ago}"


def _print_changes(run: RunDir) -> None:
    """Print the status as one line of JSON each time it has changed, until nobody works on the run."""
    holder, presence, before = HolderWatch(run), Presence(run, tell), ""
    while True:
        goes_on, held = presence.look(), holder.look()
        timed = list[dict[str, Any]]()
        fold = known(run, alive=held is not None, timed=timed)
        fields_now = status_fields(run, fold, timed, held, presence.seen)
        # Time goes by in a run that nothing is new of, too.
        now = json.dumps({name: value for name, value in fields_now.items() if name != "account"})
        if now != before:
            sys.stdout.write(json.dumps(fields_now) + "\n")
            sys.stdout.flush()
        if not goes_on:
            return
        before = now
        time.sleep(WATCH_S)


def ls(directory: str | None, *, as_json: bool) -> None:
    """Print a line for each run at and below a directory, runs/ by default."""
    root = directory or "runs"
    if directory is not None and "://" not in root and not Path(root).is_dir():
        raise UserError(f"{directory}: no such directory; `launcher ls` lists what is below runs/")
    folders = run_urls(root)
    runs = [RunDir(folder) for folder in folders]
    holders, jobs = living_holders(runs, tell), sights(runs)
    if trouble := next((seen.trouble for seen in jobs if seen.trouble), ""):
        tell(f"the queue is not known ({trouble}); this is what the runs' files say")
    found = {folder: (status_of(run, known(run, alive=holder is not None), holder, seen), seen)
             for folder, run, holder, seen in zip(folders, runs, holders, jobs, strict=True)}
    if as_json:
        rows = [{"run_dir": folder, **stands.model_dump(mode="json"), "job": fields(seen)}
                for folder, (stands, seen) in found.items()]
        sys.stdout.write(json.dumps(rows, indent=1) + "\n")
    elif found:
        print_runs(found, columns(sys.stdout))
        sys.stdout.write(f"next: launcher status {next(iter(found))}\n")
    else:
        sys.stdout.write(f"no runs under {root.rstrip('/')}/\nnext: launcher run quickstart\n")


def tell(line: str) -> None:
    """Print what is no part of the answer."""
    sys.stderr.write(wrapped("", line, columns(sys.stderr)) + "\n")
