"""`launcher run` and `launcher resume` as the command of a job of Ray, submitted by us or by `ray job submit`.

Decides that such a run joins the cluster that runs the job, by its explicit address; that a relative run directory is
not in the job's working directory, which goes with the cluster; that files which Ray left out are told as that; and
that a run submitted from elsewhere begins only where its directory is the one that was meant.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from launcher.core.errors import RecipeInvalid, UserError
from launcher.platforms.ray_jobs_inside import inside
from launcher.platforms.ray_jobs_request import STOP_WAIT
from launcher.platforms.slurm_environment import NODES_MAY_COME
from launcher.storage.jobs import job_record
from launcher.storage.recipes import LoadedRecipe
from launcher.storage.run_dir import RunDir

AUTO = "auto"
LEAST_STOP_WAIT_S = 15
"""Below it a save may not be over when Ray kills: workers give themselves ten seconds where nobody says more."""

LEFT_OUT = ("`ray job submit` sends nothing that a .gitignore or .rayignore names, and does not say so; "
            "RAY_RUNTIME_ENV_IGNORE_GITIGNORE=1 makes it send what a .gitignore names")

Tell = Callable[[str], None]


def joined_address(address: str | None, tell: Tell, environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the address of the cluster of the job that this command is part of, which is told in one line; where there
    is none, or another was said, that."""
    job = inside(environment)
    if job is None or address not in (None, AUTO):
        return address
    tell(f"this is job {job.job} of Ray: the run joins its cluster at {job.address}")
    if job.stop_wait_s < LEAST_STOP_WAIT_S:
        tell(f"`ray job stop` gives this job {job.stop_wait_s} s to save and leave; {STOP_WAIT} in the env_vars of its "
             "runtime environment gives it more, and `launcher stop` needs none")
    return job.address


def nodes_may_come(attempt: int, environment: Mapping[str, str]) -> bool:
    """Return whether nodes of a cluster that are missing when a run begins are waited for: one that has worked before
    has lost them, a job of Ray may begin before they have come, and one of Slurm had them and is queued again."""
    return attempt > 1 or inside(environment) is not None or NODES_MAY_COME in environment


def outside_package(shown: str, tell: Tell, environment: Mapping[str, str] = os.environ) -> str:
    """Return the run directory to use for one that was said or follows from the recipe: a relative one is below the
    home directory where the present folder is a package that Ray has unpacked."""
    job = inside(environment)
    if job is None or not job.unpacked or "://" in shown or Path(shown).is_absolute():
        return shown
    kept = str(Path.home() / shown)
    tell(f"the run is kept in {kept} on the job's node, because the job's working directory goes with the cluster; all "
         "nodes must see it (--run-dir names another place that they share)")
    return kept


def require_data(loaded: LoadedRecipe, environment: Mapping[str, str] = os.environ) -> None:
    """Raise RecipeInvalid if a source's file is missing; in a package that Ray has made, with why it may be."""
    job, here = inside(environment), str(Path.cwd())
    if job is None or not job.unpacked:
        loaded.require_data()
    elif loaded.missing:
        raise RecipeInvalid([replace(each, message=f"{each.message}; {LEFT_OUT}") if here in each.message else each
                             for each in loaded.missing])


def require_meant(run: RunDir, environment: Mapping[str, str] = os.environ) -> None:
    """Raise UserError if this job was submitted for a run whose directory is not what is seen here under its name."""
    job = inside(environment)
    if job is None or job.run_dir != run.url or job_record(run, job.job, "ray") is not None:
        return
    raise UserError(f"{run.url}: is not here what it is where this job was submitted, which recorded job {job.job} in "
                    "it. Give a --run-dir that all nodes of the cluster see under the same path, or a URL")
