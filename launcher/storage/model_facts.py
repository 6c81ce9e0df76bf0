"""What is known of a recipe's base model before it is fetched: its own config.json, or the table of public models.

Decides where to look, and refuses adapters and options for speed that do not fit it. A worker looks again, at the
model itself.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from launcher.core.adapter_targets import misfits
from launcher.core.architectures import ModelFacts, facts_of_config, known_facts
from launcher.core.errors import Problem, RecipeInvalid
from launcher.core.recipe import Recipe
from launcher.core.speed_checks import config_problems
from launcher.core.yaml_tree import FieldPath, dotted
from launcher.storage.typed_paths import is_file, typed_path


def facts_at(path: str) -> ModelFacts | None:
    """Return the shape of the model at a directory or hub id; None if neither tells."""
    return facts_of_config(config_at(path)) if is_file(_config(path)) else known_facts(path)


def config_at(path: str) -> dict[str, Any]:
    """Return the config.json of a model in a local directory; empty where there is none, or it cannot be read: whoever
    loads the model says what is wrong with it."""
    try:
        found: Any = json.loads(_config(path).read_bytes()) if is_file(_config(path)) else None
    except (OSError, ValueError):
        return {}
    return cast(dict[str, Any], found) if isinstance(found, dict) else {}


def _config(path: str) -> Path:
    return typed_path(path) / "config.json"


def refuse_misfits(recipe: Recipe, where: Callable[[FieldPath], str]) -> None:
    """Raise RecipeInvalid where adapters, or options for speed, do not fit what is known of the base model."""
    if recipe.model.path is None:
        return
    found = list(config_problems(recipe.model, config_at(recipe.model.path)))
    if recipe.adapter is not None and (facts := facts_at(recipe.model.path)) is not None:
        found += misfits(recipe.adapter, facts.linears, tied=facts.tied)
    if found:
        raise RecipeInvalid([Problem(where(path), dotted(path), message) for path, message in found])
