"""The batch script's options, and the `launcher run` that they become inside the job.

Decides how the nodes of the allocation reach the recipe's `cluster`: a number of workers is spread over all of them.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from launcher.core.recipe_running import ClusterWish
from launcher.storage.recipes import load_recipe
from launcher.storage.run_dir import default_run_dir


@dataclass(frozen=True, slots=True)
class Asked:
    """What the person asked of the job."""

    recipe: str
    run_dir: str
    overrides: tuple[str, ...]
    workers: int | None
    cache: str | None
    wish: ClusterWish


def asked(arguments: Sequence[str] | None = None) -> Asked:
    """Return what the arguments ask for. Raises RecipeInvalid before anything of the job is used; leaves with a usage
    message and exit code 2 for what is no option."""
    parser = argparse.ArgumentParser(prog="train.sbatch", allow_abbrev=False,
                                     description="Run a recipe on the nodes of this job.")
    parser.add_argument("recipe", metavar="RECIPE")
    parser.add_argument("--run-dir")
    parser.add_argument("--set", dest="overrides", metavar="FIELD=VALUE", action="append", default=[])
    parser.add_argument("--workers", type=int)
    parser.add_argument("--cache")
    found = parser.parse_args(arguments)
    recipe = load_recipe(found.recipe, found.overrides).recipe
    return Asked(found.recipe, found.run_dir or default_run_dir(recipe.name), tuple(found.overrides), found.workers,
                 found.cache, recipe.cluster)


def run_command(wanted: Asked, address: str, nodes: int) -> list[str]:
    """Return the controller's command on a job of so many nodes."""
    cache = [] if wanted.cache is None else ["--cache", wanted.cache]
    overrides = (*wanted.overrides, *_cluster(wanted, nodes))
    return [sys.executable, "-m", "launcher.cli.main", "run", wanted.recipe, "--run-dir", wanted.run_dir,
            "--address", address, *cache, *(word for each in overrides for word in ("--set", each))]


def _cluster(wanted: Asked, nodes: int) -> list[str]:
    if wanted.workers is not None:
        return [f"cluster={{workers: {wanted.workers}, nodes: {nodes}}}"]
    return [f"cluster.nodes={nodes}"] if wanted.wish.nodes is None else []
