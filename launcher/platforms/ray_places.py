"""What of a run other machines see: its directory, its prepared data, its sources, where a cluster is not this machine.

Decides what is refused and what is only told. Nothing here can look at the cluster's disks; a job that finds another
directory under its run's name refuses to begin (`cli.in_ray_job`).
"""

from dataclasses import dataclass
from pathlib import Path

from launcher.core.errors import Problem, RecipeInvalid, UserError
from launcher.platforms.ray_jobs_request import has_password
from launcher.storage.data_paths import is_url
from launcher.storage.recipe_paths import LocalPath
from launcher.storage.recipes import LoadedRecipe
from launcher.storage.run_dir import RunDir
from launcher.storage.typed_paths import is_file


@dataclass(frozen=True, slots=True)
class Data:
    """What becomes of a recipe's local data."""

    copied: tuple[Path, ...]
    """Files that go along."""
    notes: tuple[str, ...]
    """What must be true on the cluster, in sentences."""


def shared_run_dir(option: str | None, name: str) -> str:
    """Return the run directory as all machines know it. Raises UserError for one that would not outlive the cluster."""
    example = f"a URL (s3://bucket/runs/{name}), or an absolute path that this machine and all nodes of the cluster see"
    if option is None:
        raise UserError(f"--on ray needs --run-dir, because the run must outlive the cluster: {example}")
    if is_url(option):
        if has_password(option):
            raise UserError("--run-dir: has a name or a password in it, and stands in the job's record; give the URL "
                            "without, and credentials in the environment")
        return option.rstrip("/")
    if not Path(option).is_absolute():
        raise UserError(f"--run-dir {option}: is relative to this folder, which the cluster has not; give {example}")
    if there(Path(option)) == Path("/"):
        raise UserError(f"--run-dir {option}: this machine sees nothing of it, so it can neither record the job there "
                        f"nor tell how the run goes; give {example}, or submit from a machine that sees it")
    return option.rstrip("/")


def shared_cache(option: str | None, variable: str | None, run_dir: str) -> str:
    """Return where a job keeps prepared data: as said; what the environment says where that is a URL; else in the run's
    directory, which all nodes see."""
    said = option or (variable if variable and is_url(variable) else None)
    if said is None:
        return f"{run_dir}/{RunDir.CACHE}"
    if has_password(said):
        raise UserError("--cache: has a name or a password in it, and stands in the job's record")
    if not is_url(said) and not Path(said).is_absolute():
        raise UserError(f"--cache {said}: is relative to this folder, which the cluster has not; give an absolute path "
                        "that all its nodes see, or a URL")
    return said


def data_for(loaded: LoadedRecipe, run_dir: str, *, with_data: bool) -> Data:
    """Return what becomes of a recipe's local data on a cluster. Raises RecipeInvalid, with all that it cannot see."""
    absent = {(problem.where, problem.path) for problem in loaded.missing}
    # Nobody looks again at the sources of what is prepared: it lies in the cache, which the cluster sees.
    local = {(each.where, each.field): each for each in loaded.local
             if loaded.prepared is None or not each.field.startswith("sources.")}
    problems = [each for each in loaded.missing
                if (found := local.get((each.where, each.path))) is None or _is_relative(found)]
    copied, notes = list[Path](), list[str]()
    for place, each in local.items():
        # A home directory is another one there.
        if with_data and is_file(Path(each.path)) and not each.said.startswith("~"):
            copied.append(Path(each.path))
        elif place in absent:
            notes.append(f"{each.field}: {each.path} is not on this machine; the cluster's head must see it")
        elif beside(each.path, run_dir):
            notes.append(f"{each.field}: {each.path} lies where the run directory does, which the cluster sees")
        elif _is_relative(each):
            problems.append(Problem(each.where, each.field, _unseen(each, with_data=with_data)))
        else:
            notes.append(f"{each.field}: the cluster's head must see {each.path} under this path")
    if problems:
        raise RecipeInvalid(problems)
    return Data(tuple(dict.fromkeys(copied)), tuple(notes))


def _unseen(each: LocalPath, *, with_data: bool) -> str:
    wise = "put it on storage that the cluster sees and write its absolute path, or a URL (s3://bucket/data.jsonl)"
    if with_data:
        return f"{each.said} is no single file, and only those go along with --with-data; {wise}"
    along = ", or send files of up to 50 MiB along with --with-data" if is_file(Path(each.path)) else ""
    return f"{each.said} lies on this machine, and the cluster does not see it; {wise}{along}"


def _is_relative(each: LocalPath) -> bool:
    return not each.said.startswith(("/", "~", "file://"))


def beside(path: str, run_dir: str) -> bool:
    """Return whether a path lies on the file system of a run directory, which all nodes are said to see."""
    return not is_url(run_dir) and there(Path(path)).stat().st_dev == there(Path(run_dir)).stat().st_dev


def there(path: Path) -> Path:
    """Return the innermost of a path's folders that is there, or the path itself."""
    return next((each for each in (path, *path.parents) if each.exists()), Path("/"))
