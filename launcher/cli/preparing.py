"""Preparing a recipe's data in front of a person: found at once, or made with a progress bar."""

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from launcher.core.recipe import Recipe
from launcher.core.source_index import Prepared
from launcher.data.prepare import look_up, prepare
from launcher.storage.store import Store


def prepared_data(recipe: Recipe, cache: Store, console: Console) -> Prepared:
    """Return the prepared data of a recipe, made now if it is not in the cache."""
    found = look_up(recipe, cache)
    return found if found is not None else _prepare_visibly(recipe, cache, console)


def _prepare_visibly(recipe: Recipe, cache: Store, console: Console) -> Prepared:
    if not console.is_terminal:
        console.print(f"preparing {len(recipe.sources)} sources", highlight=False)
        return prepare(recipe, cache)
    columns = (TextColumn("preparing {task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        tasks: dict[str, object] = {}

        def show(source: str, done: int, total: int) -> None:
            if source not in tasks:
                tasks[source] = progress.add_task(source, total=total)
            progress.update(tasks[source], completed=done)  # type: ignore[arg-type]

        return prepare(recipe, cache, show)
