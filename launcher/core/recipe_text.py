"""From the text of a recipe to a Recipe, or to all its problems at once, each with file, line and column.

Decides the order: YAML, `extends`, `--set`, types, then what fields say about each other (`core.recipe_checks`).
Reading files is `storage.recipes`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from launcher.core.errors import Problem, RecipeInvalid
from launcher.core.overrides import apply_overrides, lay_over
from launcher.core.recipe import Recipe
from launcher.core.recipe_checks import check, check_secrets
from launcher.core.recipe_messages import problems_of
from launcher.core.yaml_tree import FieldPath, Tree, read_tree

EXTENDS = "extends"


@dataclass(frozen=True, slots=True)
class ParsedRecipe:
    """A recipe, and where each of its fields was written."""

    recipe: Recipe
    where: Callable[[FieldPath], str]
    """`file:line:column` of a field, or of the nearest part that was written; `--set ...` for an overridden one."""


def base_of(text: str, file: str) -> str | None:
    """Return what the recipe says after `extends:`. Raises RecipeInvalid if that is no file name."""
    tree = _tree(text, file)
    base = tree.value.get(EXTENDS)
    if base is None or isinstance(base, str):
        return base
    raise RecipeInvalid([Problem(tree.places[(EXTENDS,)], EXTENDS, "expected one file name: extends: base.yaml")])


def parse(text: str, file: str, *, base: tuple[str, str] | None = None,
          overrides: Sequence[str] = ()) -> ParsedRecipe:
    """Return the recipe that a text means; `base` is the text and file that it extends. Raises RecipeInvalid."""
    tree = _tree(text, file)
    if base is not None:
        tree = lay_over(_base_tree(*base), tree)
    tree.value.pop(EXTENDS, None)
    apply_overrides(tree, overrides)
    recipe, problems = _typed(tree)
    problems = [*tree.problems, *problems, *check_secrets(tree.value, _where(tree))]
    if recipe is not None:
        problems += check(recipe, _where(tree))
    if problems or recipe is None:
        raise RecipeInvalid(_in_order(problems))
    return ParsedRecipe(recipe, _where(tree))


def _tree(text: str, file: str) -> Tree:
    tree = read_tree(text, file)
    if not isinstance(tree.value, dict):
        what = "is empty" if tree.value is None else "is not a recipe: expected fields such as name, model and stages"
        raise RecipeInvalid(tree.problems or [Problem(f"{file}:1:1", "", what)])
    return tree


def _base_tree(text: str, file: str) -> Tree:
    tree = _tree(text, file)
    if EXTENDS in tree.value:
        raise RecipeInvalid([Problem(tree.places[(EXTENDS,)], EXTENDS, "a base may not extend another file")])
    return tree


def _typed(tree: Tree) -> tuple[Recipe | None, list[Problem]]:
    """Return the typed recipe if one can be had, also without its unknown fields, and what is wrong."""
    try:
        return Recipe.model_validate(tree.value), []
    except ValidationError as error:
        problems = problems_of(error, tree, lambda path, key: _place(tree, path, key))
        unknown = [details["loc"] for details in error.errors() if details["type"] == "extra_forbidden"]
    for path in unknown:
        _remove(tree.value, path)
    try:
        # So that what fields say about each other is told together with a misspelt name, not after it.
        return Recipe.model_validate(tree.value), problems
    except ValidationError:
        return None, problems


def _remove(value: Any, path: Sequence[str | int]) -> None:
    for part in path[:-1]:
        value = value[part]
    del value[path[-1]]


def _place(tree: Tree, path: FieldPath, key: bool) -> str:
    places = tree.places if key else tree.values
    while path and path not in places:
        path = path[:-1]
        places = tree.places
    return places.get(path) or tree.places[()]


def _where(tree: Tree) -> Callable[[FieldPath], str]:
    return lambda path: _place(tree, path, key=True)


def _in_order(problems: Sequence[Problem]) -> list[Problem]:
    """Return the problems as a reader meets them: by file, then line and column; overrides last."""
    def place(problem: Problem) -> tuple[bool, str, int, int]:
        parts = problem.where.rsplit(":", 2)
        if len(parts) < 3 or not (parts[1] + parts[2]).isdigit():
            return True, problem.where, 0, 0
        return False, parts[0], int(parts[1]), int(parts[2])

    return sorted(dict.fromkeys(problems), key=place)
