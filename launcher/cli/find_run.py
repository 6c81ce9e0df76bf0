"""Which run directory a person means: a path, or a name under runs/. One that somebody only prepares, or whose job has
not begun, counts too."""

import os
import shutil
from pathlib import Path

from launcher.core.errors import UserError
from launcher.core.suggestions import did_you_mean
from launcher.storage.jobs import FOLDER as JOBS
from launcher.storage.jobs import jobs_of
from launcher.storage.lock import Lease, holder_of
from launcher.storage.run_dir import RUNS, RunDir
from launcher.storage.store import open_store


def find_run(argument: str) -> tuple[RunDir, str]:
    """Return the run and how the person knows it. Raises UserError with the nearest name."""
    if "://" in argument:
        return _remote(argument.rstrip("/"))
    for candidate in (Path(argument), RUNS / argument):
        if (candidate / RunDir.PLAN).is_file() or _prepared(candidate) or _submitted(candidate):
            return RunDir(candidate), str(candidate)
    known = [path.name for path in run_folders()]
    hint = did_you_mean(argument, known) if known else "there are no runs here yet; `launcher run RECIPE` starts one"
    raise UserError(f"{argument}: no run here; {hint}{_by_hand()}")


def _remote(url: str) -> tuple[RunDir, str]:
    run = RunDir(url)
    if not run.store.exists(RunDir.PLAN) and holder_of(run) is None and not jobs_of(run):
        raise UserError(f"{url}: no run here; `launcher ls {url.rpartition('/')[0]}` lists what there is"
                        f"{_by_hand()}")
    return run, url


def _by_hand() -> str:
    """Return, on a machine with Slurm, which jobs nothing here tells of."""
    return "; a job submitted by hand is known once it has begun" if shutil.which("sbatch") else ""


def _prepared(folder: Path) -> bool:
    """Return whether somebody prepares a run there that has no plan yet."""
    return (folder / Lease.FOLDER).is_dir() and holder_of(RunDir(folder)) is not None


def _submitted(folder: Path) -> bool:
    """Return whether a run there has had a job, which may not have begun."""
    return (folder / JOBS).is_dir() and bool(jobs_of(RunDir(folder)))


def run_urls(root: str) -> list[str]:
    """Return where the runs at and below a folder, or a place in an object store, are."""
    if "://" not in root:
        return [str(folder) for folder in run_folders(Path(root))]
    store = open_store(root.rstrip("/"))
    plans = (key for key in store.list() if key.rpartition("/")[2] == RunDir.PLAN)
    return [f"{store.url}/{key}".removesuffix(f"/{RunDir.PLAN}") for key in plans]


def run_folders(root: Path = RUNS) -> list[Path]:
    """Return the run directories at and below a folder; what lies inside a run is not looked at."""
    found: list[Path] = []
    for folder, below, files in os.walk(root):
        if RunDir.PLAN in files or (JOBS in below and _submitted(Path(folder))):
            found.append(Path(folder))
            below.clear()
        below[:] = [name for name in below if not name.startswith(".")]
    return sorted(found)
