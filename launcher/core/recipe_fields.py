"""What fields a recipe has at a path: for the nearest valid name, and for describing what belongs there."""

from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from launcher.core.recipe import Recipe
from launcher.core.yaml_tree import FieldPath


def model_at(path: FieldPath) -> type[BaseModel] | None:
    """Return the type of the recipe's part at a path, or None where there is a plain value."""
    found: Any = Recipe
    for part in path:
        found = _below(found, part)
    return _model(found)


def fields_at(path: FieldPath) -> list[str]:
    """Return the names of the fields at a path."""
    model = model_at(path)
    return list(model.model_fields) if model else []


def _below(annotation: Any, part: str | int) -> Any:
    model = _model(annotation)
    if model is not None:
        field = model.model_fields.get(str(part))
        return field.annotation if field else None
    for option in _options(annotation):
        if get_origin(option) in (dict, tuple):
            # A map's values, or the entries of a list of any length.
            return get_args(option)[1 if get_origin(option) is dict else 0]
    return None


def _model(annotation: Any) -> type[BaseModel] | None:
    for option in _options(annotation):
        if isinstance(option, type) and issubclass(option, BaseModel):
            return option
    return None


def _options(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) is Annotated:
        return _options(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return tuple(each for option in get_args(annotation) for each in _options(option))
    return (annotation,)
