"""The `fields` of a recipe's source: a row's columns under the names that a form knows.

Decides how a field is written: the name of a column, taken as it is, or a text with columns in braces, such as
"Question: {question}"; {{ and }} are braces themselves. What a form must hold is `rendering.forms`.
"""

import re
from collections.abc import Mapping
from typing import Any

from launcher.core.suggestions import did_you_mean
from launcher.data.rendering.texts import checked_text, kind_of

Columns = dict[str, Any]

FIELDS = ("messages", "tools", "system", "prompt", "completion", "instruction", "input", "output", "text")
"""What a row's content is made of, over all forms."""

# In order: escaped braces, a column in braces, a brace that is neither, and anything else.
PARTS = re.compile(r"(?P<escaped>\{\{|\}\})|\{(?P<column>[^{}]*)\}|(?P<stray>[{}])|(?P<words>[^{}]+)")


class Fields:
    """Says what a row's columns are called. Made once per source; a column that is missing is told per row."""

    def __init__(self, fields: Mapping[str, str] | None) -> None:
        """Raise ValueError for a field that no form has, and for braces that do not pair."""
        self._fields = dict(fields or {})
        for name in self._fields:
            if name not in FIELDS:
                raise ValueError(f"fields.{name}: no form has such a field; {did_you_mean(name, FIELDS)}")
        self._texts = {name: _parts(name, said) for name, said in self._fields.items() if re.search("[{}]", said)}

    def __bool__(self) -> bool:
        """Return whether there is anything to rename."""
        return bool(self._fields)

    @property
    def names(self) -> tuple[str, ...]:
        """Return the fields that are said."""
        return tuple(self._fields)

    def columns(self, columns: Columns) -> Columns:
        """Return a row's columns with the fields among them. Raises ValueError if a column is not there."""
        return {**columns, **{name: self._value(name, columns) for name in self._fields}} if self._fields else columns

    def _value(self, name: str, columns: Columns) -> Any:
        said = self._fields[name]
        if said in columns:
            return columns[said]
        if name not in self._texts:
            raise ValueError(f"fields.{name}: no column {said!r}; {did_you_mean(said, columns)}")
        return "".join(word if column is None else _filled(name, column, columns)
                       for word, column in self._texts[name])


def _parts(name: str, said: str) -> list[tuple[str, str | None]]:
    """Return a text as words and columns, in order."""
    parts: list[tuple[str, str | None]] = []
    for part in PARTS.finditer(said):
        if part["stray"]:
            raise ValueError(f"fields.{name}: a brace without its other half at character {part.start() + 1} of "
                             f"{said!r}; write {{column}}, or {{{{ and }}}} for braces themselves")
        if part["column"] is not None and not part["column"].strip():
            raise ValueError(f"fields.{name}: braces without a column in {said!r}; write {{column}}, or {{{{ and }}}} "
                             "for braces themselves")
        parts.append((part["words"] or part["escaped"][0], None) if part["column"] is None else ("", part["column"]))
    return parts


def _filled(name: str, column: str, columns: Columns) -> str:
    column = column if column in columns else column.strip()
    if column not in columns:
        raise ValueError(f"fields.{name}: no column {column!r}; {did_you_mean(column, columns)}")
    value = columns[column]
    if isinstance(value, str):
        return checked_text(value, column)
    # A number is written as Python and JSON write it; what else would be meant by a list or null cannot be told.
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise ValueError(f"fields.{name}: column {column!r} must be text or a number, not {kind_of(value)}; write it as a "
                     "string or remove the row")
