"""Text and JSON values as a row may hold them: checked before anything is made of them.

Decides what counts as text. Where in the file a value stands is known by whoever reads the rows.
"""

import json
from typing import Any


def kind_of(value: Any) -> str:
    """Return what a value is, as people name it who write JSON."""
    return "null" if value is None else {"bool": "true or false"}.get(type(value).__name__, type(value).__name__)


def text_in(columns: dict[str, Any], name: str, place: str = "") -> str:
    """Return a column's text. Raises ValueError if it holds something else."""
    value = columns[name]
    if not isinstance(value, str):
        hint = "write it as a string"
        if isinstance(value, int | float) and not isinstance(value, bool) and not place:
            hint += f", or say fields: {{{name}: '{{{name}}}'}} in the recipe,"
        raise ValueError(f"{place}{name} must be text, not {kind_of(value)}; {hint} or remove the row")
    return checked_text(value, f"{place}{name}")


def checked_text(value: str, what: str) -> str:
    """Return a text. Raises ValueError if it is not Unicode: JSON can write half of a character."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{what} holds half of a surrogate pair at character {error.start}, which is not "
                         "Unicode text; repair or remove the row") from None
    return value


def json_in(value: Any, what: str) -> Any:
    """Return a value of lists, objects, text and numbers, read from its JSON text if it is one."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise ValueError(f"{what} is text that is not JSON; write it as JSON") from None
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise ValueError(f"{what} holds what JSON cannot; write objects, lists, text and numbers") from None
    checked_text(text, what)
    return value
