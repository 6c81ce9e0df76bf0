"""Preparing a recipe's data in front of a person: found at once, or made with a progress bar."""

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from launcher.core.recipe import Recipe
from launcher.core.source_index import Prepared
from launcher.data.prepare import Preparation, still_there
from launcher.report.words import plural
from launcher.storage.recipes import LoadedRecipe
from launcher.storage.store import Store


def data_of(loaded: LoadedRecipe, cache: Store, console: Console) -> Prepared:
    """Return the prepared data of a recipe on disk; of a copy that a job runs, what was prepared on submission."""
    if loaded.prepared is not None:
        if still_there(loaded.prepared, cache):
            return loaded.prepared
        console.print("what was prepared on submission is not in the cache here; preparing again", highlight=False)
    return prepared_data(loaded.as_read(), cache, console)


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
