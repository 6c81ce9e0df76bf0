"""What a recipe needs of this machine that is not everywhere: missed before anything is started.

Packages that launcher does not install by itself, a version of torch, a compiler, a GPU. Of this machine alone, so for
runs that work on it; on a cluster a worker says what it misses.
"""

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Literal

from launcher.core.adapter_checks import NO_BITSANDBYTES
from launcher.core.errors import Problem, Unplannable, UserError
from launcher.core.recipe import Recipe
from launcher.core.speed_checks import (
    CHUNKED,
    COMPILE,
    LIGER,
    NO_COMPILER,
    NO_LIGER,
    NO_TORCH,
    device_problem,
    has_chunks,
)
from launcher.core.yaml_tree import FieldPath, dotted
from launcher.platforms.machine_facts import installed
from launcher.runtime.compiler import without_compiler


def require_packages(recipe: Recipe, device: Literal["cpu", "cuda"], where: Callable[[FieldPath], str]) -> None:
    """Raise UserError where something is missing; `where` tells the place of a field."""
    if recipe.adapter is not None and recipe.adapter.base == "4bit" and find_spec("bitsandbytes") is None:
        raise UserError(NO_BITSANDBYTES)
    if found := list(_speed(recipe, device)):
        raise Unplannable([Problem(where(path), dotted(path), message) for path, message in found])


def _speed(recipe: Recipe, device: Literal["cpu", "cuda"]) -> Iterator[tuple[FieldPath, str]]:
    """Yield what options for speed miss."""
    speed = recipe.model.speed
    if (unfit := device_problem(recipe.model, device)) is not None:
        yield unfit
    elif speed.liger and find_spec("liger_kernel") is None:
        yield LIGER, NO_LIGER
    if speed.chunked_cross_entropy and not has_chunks(version := installed("torch")):
        yield CHUNKED, NO_TORCH.format(version)
    if speed.compile is not None and (lacking := without_compiler()) is not None:
        yield COMPILE, NO_COMPILER.format(lacking)
