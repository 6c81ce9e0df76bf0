"""What is submitted: a job of one run, or a job array with a run for each of several recipes.

Decides what a job is given: the copies it runs, its arguments, its environment and the nodes it is to avoid. What flags
come of that is `platforms.sbatch`; what is printed is `cli.submit`.
"""

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

from rich.console import Console

from launcher.cli.preparing import data_of
from launcher.core.errors import PlatformError, UserError
from launcher.core.recipe_running import SlurmOptions
from launcher.core.recovery import left_out
from launcher.core.run_plan import RunPlan
from launcher.core.source_index import Prepared
from launcher.data.cache import ENVIRONMENT, cache_store, cache_url
from launcher.data.model_files import model_folder
from launcher.platforms.sbatch import JobFlags, nodes_of, sbatch_command
from launcher.platforms.site_file import CODE, PYTHON, SITE, Site, find_site
from launcher.platforms.slurm_chain import own_options
from launcher.platforms.slurm_client import node_names
from launcher.platforms.slurm_told import told_by
from launcher.storage import submitted
from launcher.storage.journal import read_journal
from launcher.storage.lock import refuse_held
from launcher.storage.recipes import LoadedRecipe, load_recipe
from launcher.storage.run_dir import RunDir, default_run_dir
from launcher.storage.run_start import change_of, last_end, read_submission
from launcher.storage.shipped import shipped
from launcher.storage.submitting import Snapshot, snapshot_of

SCRIPT = "train.sbatch"
ARRAY_LOG = "slurm-%A_%a.out"
OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
"""Whatever a job needs of the hub was fetched before; on nodes without internet each question would wait in vain."""


@dataclass(frozen=True)
class SubmitOptions:
    """What the command line says besides recipes."""

    run_dir: str | None = None
    workers: int | None = None
    nodes: int | None = None
    overrides: tuple[str, ...] = ()
    cache: str | None = None
    site: str | None = None
    array: bool = False
    prepare: bool = True
    chain: int = 1
    """Jobs, each of which waits for the one before."""


@dataclass(frozen=True)
class Run:
    """One run of a job."""

    loaded: LoadedRecipe
    shown: str
    """The run directory as the person knows it."""

    @classmethod
    def of(cls, recipe: str, options: SubmitOptions) -> Self:
        """Return the run of a recipe. Raises RecipeInvalid."""
        loaded = load_recipe(recipe, options.overrides)
        if options.prepare:
            loaded.require_data()
        return cls(loaded, (options.run_dir or "").rstrip("/") or default_run_dir(loaded.recipe.name))

    @property
    def name(self) -> str:
        """Return the recipe's name."""
        return self.loaded.recipe.name

    @cached_property
    def directory(self) -> RunDir:
        """Return the run directory."""
        return RunDir(self.shown)

    @property
    def works(self) -> str:
        """Return where its jobs work, as the person knows it: in the run's directory, or where that is in an object
        store in a folder of its name here. Slurm writes a job's log, and Python finds its code, in folders alone."""
        return default_run_dir(self.directory.name) if self.directory.remote else self.shown

    @property
    def folder(self) -> Path:
        """Return the same in any folder."""
        return Path(default_run_dir(self.directory.name) if self.directory.remote else self.directory.path).absolute()

    @property
    def log(self) -> str:
        """Return the log of the run's job, with sbatch's sign for the job's number."""
        return f"{self.works}/{RunDir.SLURM_LOG}"

    def begun(self) -> bool:
        """Return whether the run has a plan."""
        return self.directory.store.exists(RunDir.PLAN)

    def finished(self) -> bool:
        """Return whether the run has come to its end."""
        ended = last_end(self.directory)
        return ended is not None and ended.outcome == "finished"

    def nothing_to_do(self, made: RunPlan | None = None) -> bool:
        """Return whether the run has finished and nothing more is asked for, as far as is known without (and with) the
        plan that is `made` of the recipe. Raises PlanChanged if something else is asked for."""
        if not self.finished():
            return False
        if self.loaded.recipe == read_submission(self.directory).recipe:
            return True
        return made is not None and change_of(self.directory, made) is None

    def refuse_held(self, tell: Callable[[str], None]) -> None:
        """Raise UserError if somebody works on the run now; `tell` gets a line if it takes time to find out."""
        refuse_held(self.directory, tell)

    def prepare(self, cache: str, console: Console) -> Prepared:
        """Fetch model and tokenizer, and prepare the data. Raises UserError for what cannot be had."""
        if (path := self.loaded.recipe.model.path) is not None:
            model_folder(path, weights=True)
        return data_of(self.loaded, cache_store(cache), console)


@dataclass(frozen=True)
class Job:
    """One call of sbatch."""

    runs: tuple[Run, ...]
    options: SubmitOptions
    site: Site | None
    script: Path

    @classmethod
    def of(cls, recipes: Sequence[str], options: SubmitOptions) -> Self:
        """Return the job for recipes. Raises UserError for recipes that cannot be one job."""
        if len(recipes) > 1 and not options.array:
            raise UserError("several recipes are tasks of one job array, each a run of its own: add --array")
        if len(recipes) > 1 and options.run_dir:
            raise UserError("--run-dir is for one run; those of an array have their recipes' names under runs/")
        if len(recipes) > 1 and options.chain > 1:
            raise UserError("--chain is for one run: a link would wait for all tasks of an array")
        script = shipped("slurm", SCRIPT)
        if script is None:
            raise PlatformError(f"slurm/{SCRIPT} is not where launcher is installed; install it again")
        runs = tuple(Run.of(recipe, options) for recipe in recipes)
        _refuse_unlike(runs, options)
        return cls(runs, options, _site_of(runs, options), script)

    def snapshots(self, prepared: Sequence[Prepared | None]) -> list[Snapshot]:
        """Return what is copied for each run, whose data was prepared or not."""
        also = () if self.site is None else (self.site.file,)
        return [snapshot_of(run.loaded, self.options.overrides, data, also)
                for run, data in zip(self.runs, prepared, strict=True)]

    def command(self, snapshots: Sequence[Snapshot]) -> list[str]:
        """Return sbatch's command."""
        first, options = self.runs[0], self.options
        copies = [str(snapshot.folder(run.folder) / snapshot.described.recipe)
                  for run, snapshot in zip(self.runs, snapshots, strict=True)]
        one = len(copies) == 1
        log = f"{self.folder.replace('%', '%%')}/{RunDir.SLURM_LOG if one else ARRAY_LOG}"
        flags = JobFlags(first.name, log, self.folder, *_size(first, options), self.left_out, len(copies))
        run_dir = ["--run-dir", first.directory.url if first.directory.remote else self.folder] if one else []
        return sbatch_command(str(self.script), flags, self._asked(), [*copies, *run_dir, *self._given()])

    def environment(self, snapshots: Sequence[Snapshot]) -> dict[str, str]:
        """Return what is added to the environment of sbatch, and so of the job."""
        copy = snapshots[0].folder(self.runs[0].folder)
        site = "" if self.site is None else str(copy / snapshots[0].name_of(self.site.file))
        code = str(copy / submitted.CODE) if snapshots[0].has_code else ""
        offline = OFFLINE if all(snapshot.described.prepared for snapshot in snapshots) else {}
        return {PYTHON: sys.executable, SITE: site, CODE: code, **self.site_variables, **offline}

    @property
    def folder(self) -> str:
        """Return where the job works: there lies no other launcher, which Python would find first."""
        return str(self.runs[0].folder)

    @property
    def site_variables(self) -> dict[str, str]:
        """Return what the site sets here as in the job."""
        return {} if self.site is None else self.site.variables

    @property
    def cache(self) -> str:
        """Return where prepared data lies, for the job as for us, and for whoever goes on with the run elsewhere."""
        of_site = None if self.site is None else self.site.settings.get(ENVIRONMENT)
        first = self.runs[0].directory
        return cache_url(self.options.cache or of_site, first.url if first.remote else "")

    @cached_property
    def left_out(self) -> tuple[str, ...]:
        """Return nodes of the cluster that have failed a run too often, and are not to be had."""
        if "exclude" in _slurm(self.runs[0]).extra:
            return ()
        struck = frozenset[str]().union(*(left_out(read_journal(run.directory)) for run in self.runs))
        if struck:
            # A run may have begun on machines that this Slurm does not know, and would not take the names of.
            with suppress(PlatformError):
                struck &= node_names()
        return tuple(sorted(struck))

    def _asked(self) -> SlurmOptions:
        """Return what the recipe says under `slurm`, and what follows from the runs where it says nothing."""
        first, asked = self.runs[0], _slurm(self.runs[0])
        told = told_by(event for run in self.runs for event in read_journal(run.directory))
        own = own_options(told, first.loaded.recipe.cluster, nodes_of(first.loaded.recipe.cluster, self.options.nodes),
                          asked.time)
        return asked.model_copy(update={"extra": own | asked.extra})

    def _given(self) -> list[str]:
        options = self.options
        workers = ["--workers", str(options.workers)] if options.workers else []
        return ["--cache", self.cache, *workers, *(word for each in options.overrides for word in ("--set", each))]


def _slurm(run: Run) -> SlurmOptions:
    return run.loaded.recipe.slurm or SlurmOptions()


def _size(run: Run, options: SubmitOptions) -> tuple[int, int | None]:
    wish = run.loaded.recipe.cluster
    return nodes_of(wish, options.nodes), None if options.workers else wish.gpus_per_node


def _refuse_unlike(runs: Sequence[Run], options: SubmitOptions) -> None:
    """Raise UserError for runs that cannot be tasks of one array."""
    first, directories = runs[0], set[str]()
    for run in runs:
        if run.shown in directories:
            raise UserError(f"two of the recipes have the name {run.name}, and so one run directory; rename one")
        directories.add(run.shown)
        if (_slurm(run), _size(run, options)) != (_slurm(first), _size(first, options)):
            raise UserError(f"tasks of one array are alike for Slurm, and the recipes {first.name} and {run.name} ask "
                            "for other nodes or say other things under slurm; submit them one by one")


def _site_of(runs: Sequence[Run], options: SubmitOptions) -> Site | None:
    """Return the one site of all runs. Raises UserError if they have several."""
    sites = [_site(run.loaded, options.site) for run in runs]
    if len(files := sorted({"none" if site is None else str(site.file) for site in sites})) > 1:
        raise UserError(f"tasks of one array have one site file, and these recipes name {', '.join(files)}; say which "
                        "with --site")
    return sites[0]


def _site(loaded: LoadedRecipe, option: str | None) -> Site | None:
    """Return the site that the command line, the recipe or the environment names. Raises ProblemsError."""
    field = ("slurm", "site")
    if option:
        return find_site(option, Path(), f"--site {option}")
    if loaded.recipe.slurm is not None and loaded.recipe.slurm.site:
        return find_site(loaded.recipe.slurm.site, loaded.folder_of(field), loaded.where(field))
    named = os.environ.get(SITE)
    return find_site(named, Path(), f"{SITE}={named}") if named else None
