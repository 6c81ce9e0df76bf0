"""What pydantic found wrong with a recipe, in plain words and at its place.

Decides wording only. The table below has one line per kind of error; several errors at one place, as from a choice
between types, become one.
"""

from collections.abc import Callable, Mapping
from typing import Any, cast

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from launcher.core.errors import Problem
from launcher.core.recipe_fields import fields_at
from launcher.core.suggestions import did_you_mean
from launcher.core.yaml_tree import FieldPath, Tree, dotted

EXPECTED = {
    "int_type": "a whole number", "int_parsing": "a whole number", "int_from_float": "a whole number",
    "int_parsing_size": "a smaller whole number", "float_type": "a number", "float_parsing": "a number",
    "string_type": "a text", "bool_type": "true or false", "bool_parsing": "true or false",
    "dict_type": "fields", "model_type": "fields", "model_attributes_type": "fields", "tuple_type": "a list",
    "list_type": "a list", "greater_than": "above {gt:g}", "greater_than_equal": "at least {ge:g}",
    "less_than": "below {lt:g}", "less_than_equal": "at most {le:g}", "literal_error": "{expected}",
    "finite_number": "a finite number",
    "string_pattern_mismatch": "a name of letters, digits, dot, dash and underscore, at most 100",
}
"""Completes the sentence `expected ..., not VALUE`."""


def problems_of(error: ValidationError, tree: Tree, where: Callable[[FieldPath, bool], str]) -> list[Problem]:
    """Return one problem per place. `where(path, key)` tells where a value, or its key, was written."""
    grouped: dict[FieldPath, list[ErrorDetails]] = {}
    for details in error.errors(include_url=False):
        grouped.setdefault(_path(details, tree.value), []).append(details)
    return [_problem(path, details, where) for path, details in grouped.items()]


def _path(details: ErrorDetails, value: Any) -> FieldPath:
    """Return pydantic's location without the names of union members and validators that it puts in between."""
    path: list[str | int] = []
    for number, part in enumerate(details["loc"]):
        last = number == len(details["loc"]) - 1
        if isinstance(value, dict) and (part in value or (last and details["type"] == "missing")):
            value = cast(Mapping[Any, Any], value).get(part)
        elif isinstance(value, list) and isinstance(part, int) and part < len(cast(list[Any], value)):
            value = cast(list[Any], value)[part]
        elif not (isinstance(value, list) and details["type"] == "missing"):
            continue
        path.append(part)
    return tuple(path)


def _problem(path: FieldPath, several: list[ErrorDetails], where: Callable[[FieldPath, bool], str]) -> Problem:
    first = several[0]
    match first["type"]:
        case "missing":
            return Problem(where(path[:-1], True), dotted(path), "is missing")
        case "extra_forbidden":
            hint = did_you_mean(str(path[-1]), fields_at(path[:-1]))
            return Problem(where(path, True), dotted(path), f"is not a field; {hint}")
        case "value_error":
            key = isinstance(first["input"], dict | list)
            return Problem(where(path, key), dotted(path), first["msg"].removeprefix("Value error, "))
        case _:
            return Problem(where(path, False), dotted(path), _expected(several))


def _expected(several: list[ErrorDetails]) -> str:
    wishes: list[str] = []
    for details in several:
        template = EXPECTED.get(details["type"])
        if template is None:
            return details["msg"][0].lower() + details["msg"][1:]
        wish = template.format(**details.get("ctx", {}))
        if wish not in wishes:
            wishes.append(wish)
    return f"expected {' or '.join(wishes)}, not {_shown(several[0])}"


def _shown(details: ErrorDetails) -> str:
    value = details["input"]
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "fields"
    if isinstance(value, list):
        return "a list"
    shown = str(value).lower() if isinstance(value, bool) else repr(value)
    quotes = details["type"] == "string_type" and isinstance(value, bool | int | float)
    return f'{shown}; put it in quotes: "{shown}"' if quotes else shown
