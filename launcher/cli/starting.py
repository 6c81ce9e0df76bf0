"""How `run` and `resume` are carried out: here, detached from the terminal, or for a machine that reads JSON."""

import json
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import Any

from launcher.cli.detach import detach
from launcher.cli.in_ray_job import outside_package
from launcher.cli.queue import Sight
from launcher.cli.run import RunOptions
from launcher.cli.status import status_fields
from launcher.report.known import known
from launcher.storage.lock import holder_of
from launcher.storage.recipes import load_recipe
from launcher.storage.run_dir import RunDir, default_run_dir


def start(act: Callable[[], int], run_dir: Callable[[], str], *, detached: bool, as_json: bool) -> int:
    """Carry out `act`, which works on the run in `run_dir`, as asked for; return the exit code."""
    if detached:
        shown = run_dir()
        return detach(RunDir(shown), shown, sys.argv[1:], as_json=as_json)
    if not as_json:
        return act()
    with redirect_stdout(sys.stderr):
        code = act()
    run, timed = RunDir(run_dir()), list[dict[str, Any]]()
    holder = holder_of(run)
    fields = status_fields(run, known(run, alive=holder is not None, timed=timed), timed, holder, Sight())
    sys.stdout.write(json.dumps(fields, indent=1) + "\n")
    return code


def run_dir_of(recipe: str, options: RunOptions) -> str:
    """Return the directory of a recipe's run, as the person knows it."""
    said = options.run_dir or default_run_dir(load_recipe(recipe, options.overrides).recipe.name)
    return outside_package(said, lambda _: None)
