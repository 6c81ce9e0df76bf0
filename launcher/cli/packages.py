"""Packages that a recipe needs and launcher does not install by itself: missed before anything is started.

Of this machine alone, so for runs that work on it; on a cluster a worker says what it misses.
"""

from importlib.util import find_spec

from launcher.core.adapter_checks import NO_BITSANDBYTES
from launcher.core.errors import UserError
from launcher.core.recipe import Recipe


def require_packages(recipe: Recipe) -> None:
    """Raise UserError where a package is missing."""
    if recipe.adapter is not None and recipe.adapter.base == "4bit" and find_spec("bitsandbytes") is None:
        raise UserError(NO_BITSANDBYTES)
