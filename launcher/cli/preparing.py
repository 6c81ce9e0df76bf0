"""Preparing a recipe's data in front of a person: found at once, or made with a progress bar."""

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from launcher.core.recipe import Recipe
from launcher.core.source_index import Prepared
from launcher.data.prepare import look_up, prepare
from launcher.storage.store import Store


def prepared_data(recipe: Recipe, cache: Store, console: Console, processes: int | None = None) -> Prepared:
    """Return the prepared data of a recipe, made now if it is not in the cache."""
    found = look_up(recipe, cache)
    return found if found is not None else _prepare_visibly(recipe, cache, console, processes)


def _prepare_visibly(recipe: Recipe, cache: Store, console: Console, processes: int | None) -> Prepared:
    def wait(what: str, holder: str) -> None:
        console.print(f"{what}: waiting for {holder}, which prepares it", highlight=False)

    if not console.is_terminal:
        console.print(f"preparing {len(recipe.sources)} sources", highlight=False)
        return prepare(recipe, cache, processes=processes, waiting=wait)
    columns = (TextColumn("preparing {task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        tasks: dict[str, TaskID] = {}

        def show(source: str, done: int, total: int) -> None:
            if source not in tasks:
                tasks[source] = progress.add_task(source, total=total)
            progress.update(tasks[source], completed=done)

        return prepare(recipe, cache, show, processes=processes, waiting=wait)
