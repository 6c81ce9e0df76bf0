"""Preparing a recipe's data in front of a person: found at once, or made with a progress bar."""

from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from launcher.core.errors import DataInvalid
from launcher.core.recipe import Recipe
from launcher.core.source_index import Prepared
from launcher.data.prepare import Preparation, as_planned, still_there
from launcher.report.words import plural
from launcher.storage.data_paths import problem_with
from launcher.storage.recipes import LoadedRecipe
from launcher.storage.run_dir import RunDir
from launcher.storage.run_start import read_plan
from launcher.storage.store import Store


def data_of(loaded: LoadedRecipe, cache: Store, console: Console) -> Prepared:
    """Return the prepared data of a recipe on disk; of a copy that a job runs, what was prepared on submission."""
    if loaded.prepared is not None:
        if still_there(loaded.prepared, cache):
            return loaded.prepared
        console.print("what was prepared on submission is not in the cache here; preparing again", highlight=False)
    return prepared_data(loaded.as_read(), cache, console)


def data_of_run(run: RunDir, recipe: Recipe, cache: Store, console: Console) -> Prepared:
    """Return the prepared data of a run that goes on. Of sources that are not on this machine it is what the plan was
    made of, where the cache has that. Raises DataInvalid, which says what to do, where it has not."""
    if not (missing := not_here(recipe)):
        return prepared_data(recipe, cache, console)
    if (known := as_planned(read_plan(run), cache)) is None:
        raise DataInvalid(no_data(missing, cache.url))
    console.print(f"{missing[0]}: the run goes on with what was prepared of it, in {cache.url}", highlight=False,
                  markup=False, soft_wrap=True)
    return known


def not_here(recipe: Recipe) -> list[str]:
    """Return what a recipe names as data and this machine has not, in words."""
    named = [(name, path) for name, source in recipe.sources.items() for path in (*source.paths, source.holdout.path)]
    return [f"sources.{name}: {problem}" for name, path in named
            if path is not None and (problem := problem_with(path)) is not None]


def no_data(missing: Sequence[str], cache: str) -> str:
    """Return what to tell a person whose run cannot go on here for want of data."""
    told = "\n".join(missing)
    return (f"{told}\nThe run was begun where these are, and what was prepared of them is not in {cache}. Put them "
            "under the same paths here, or say with --cache where their prepared data is: a URL, or a copied folder")


def prepared_data(recipe: Recipe, cache: Store, console: Console, processes: int | None = None) -> Prepared:
    """Return the prepared data of a recipe, made now if it is not in the cache."""
    preparation = Preparation(recipe, cache)
    found = preparation.found()
    return found if found is not None else _prepare_visibly(preparation, len(recipe.sources), console, processes)


def _prepare_visibly(preparation: Preparation, sources: int, console: Console, processes: int | None) -> Prepared:
    def wait(what: str, holder: str) -> None:
        console.print(f"{what}: waiting for {holder}, which prepares it", highlight=False)

    if not console.is_terminal:
        console.print(f"preparing {plural(sources, 'source')}", highlight=False)
        return preparation.make(processes=processes, waiting=wait)
    columns = (TextColumn("preparing {task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        tasks: dict[str, TaskID] = {}

        def show(source: str, done: int, total: int) -> None:
            if source not in tasks:
                tasks[source] = progress.add_task(source, total=total)
            progress.update(tasks[source], completed=done)

        return preparation.make(show, processes=processes, waiting=wait)
