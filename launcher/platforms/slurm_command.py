"""The batch script's options, and the `launcher run` that they become inside the job.

Decides how the nodes of the allocation reach the recipe's `cluster`: a number of workers is spread over all of them.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

from launcher.core.errors import UserError
from launcher.core.recipe_running import ClusterWish
from launcher.storage.recipes import load_recipe
from launcher.storage.run_dir import default_run_dir
from launcher.storage.submitted import run_of_copy


@dataclass(frozen=True, slots=True)
class Asked:
    """What the person asked of the job."""

    recipe: str
    run_dir: str
    overrides: tuple[str, ...]
    workers: int | None
    cache: str | None
    wish: ClusterWish


def asked(arguments: Sequence[str] | None = None, task: int | None = None) -> Asked:
    """Return what the arguments ask for, of a job array for one of its tasks. Raises RecipeInvalid or UserError before
    anything of the job is used; leaves with a usage message and exit code 2 for what is no option."""
    parser = argparse.ArgumentParser(prog="train.sbatch", allow_abbrev=False,
                                     description="Run a recipe on the nodes of this job.")
    parser.add_argument("recipes", metavar="RECIPE", nargs="+")
    parser.add_argument("--run-dir")
    parser.add_argument("--set", dest="overrides", metavar="FIELD=VALUE", action="append", default=[])
    parser.add_argument("--workers", type=int)
    parser.add_argument("--cache")
    found = parser.parse_args(arguments)
    file = recipe_of(found.recipes, task)
    recipe = load_recipe(file, found.overrides).recipe
    run_dir = found.run_dir or run_of_copy(file) or default_run_dir(recipe.name)
    return Asked(file, run_dir, tuple(found.overrides), found.workers, found.cache, recipe.cluster)


def recipe_of(recipes: Sequence[str], task: int | None) -> str:
    """Return the recipe of a job, or of one task of a job array. Raises UserError if there is not one for each."""
    if len(recipes) == 1:
        return recipes[0]
    if task is None or not 0 <= task < len(recipes):
        raise UserError(f"{len(recipes)} recipes are for the tasks of a job array: sbatch --array=0-{len(recipes) - 1}")
    return recipes[task]


def run_command(wanted: Asked, address: str, nodes: int, python: str) -> list[str]:
    """Return the controller's command on a job of so many nodes, where it runs by this Python."""
    cache = [] if wanted.cache is None else ["--cache", wanted.cache]
    overrides = (*wanted.overrides, *_cluster(wanted, nodes))
    return [python, "-m", "launcher.cli.main", "run", wanted.recipe, "--run-dir", wanted.run_dir,
            "--address", address, *cache, *(word for each in overrides for word in ("--set", each))]


def _cluster(wanted: Asked, nodes: int) -> list[str]:
    if wanted.workers is not None:
        return [f"cluster={{workers: {wanted.workers}, nodes: {nodes}}}"]
    wish = wanted.wish
    if wish.nodes is None:
        return [f"cluster.nodes={max(1, nodes - wish.spares)}"]
    if nodes >= (wish.min_nodes or wish.nodes):
        return []
    # Who asks for fewer machines than the recipe says means it.
    return [f"cluster.nodes={nodes}", *([f"cluster.min_nodes={nodes}"] if wish.min_nodes else [])]
