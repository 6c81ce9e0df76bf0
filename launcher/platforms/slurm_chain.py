"""Options that a job has from its run and not from the recipe's `slurm` section; jobs that wait for each other. Pure.

Decides that links of a chain are submitted at once, each behind the one before whatever became of that: only sbatch
knows all options that a person gave, and many sites let no node submit jobs. A link whose run needs it no more leaves
by itself, before it starts anything (`slurm_verdict.needless`).
"""

import math
from collections.abc import Sequence

from launcher.core.recipe_running import ClusterWish
from launcher.platforms.slurm_told import Told
from launcher.platforms.slurm_verdict import LARGEST_SHARE, margin_s

SCRIPTS_S = 180.0
"""Of train.sbatch, before the end."""
_DEPENDENCY = "--dependency="


def own_options(told: Told, wish: ClusterWish, nodes: int, length_s: float | None) -> dict[str, str | int | bool]:
    """Return options of sbatch by their long names: when to warn, by how long the run's saves took, and whether Slurm
    leaves the job its other nodes when one is lost."""
    found: dict[str, str | int | bool] = {}
    # Before anything was saved the script's own warning holds, which is early, and too early for a short allocation.
    if told.save_s or (length_s is not None and LARGEST_SHARE * length_s < SCRIPTS_S):
        found["signal"] = f"B:USR1@{math.ceil(margin_s(told, length_s))}"
    if (wish.min_nodes or wish.nodes or nodes) < nodes:
        found["no_kill"] = True
    return found


def link(command: Sequence[str], job: int) -> list[str]:
    """Return an sbatch command as the next link after a job."""
    sbatch, *rest = command
    return [sbatch, f"{_DEPENDENCY}afterany:{job}", *(word for word in rest if not word.startswith(_DEPENDENCY))]
