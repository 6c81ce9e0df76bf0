"""Reading JSON lines, with an error that names the row for everything that can be wrong with a file.

What a row must hold is `data.forms`.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher.core.errors import DataInvalid

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class JsonRow:
    """One row of a file."""

    index: int
    """From 0, blank lines not counted."""
    line: int
    """From 1, as an editor shows it."""
    end: int
    """Bytes of the file up to the end of this line."""
    columns: dict[str, Any]


def read_rows(path: Path) -> Iterator[JsonRow]:
    """Yield the rows of a file. Raises DataInvalid at the first that is not a JSON object, or if there is none.

    Lines are split at newline bytes alone: `str.splitlines` also splits at Unicode separators inside strings.
    """
    index = end = 0
    try:
        with path.open("rb") as file:
            for line, data in enumerate(file, 1):
                end += len(data)
                if data.strip():
                    yield JsonRow(index, line, end, _columns(data if index else data.removeprefix(BYTE_ORDER_MARK),
                                                             path, line))
                    index += 1
    except OSError as error:
        raise DataInvalid(f"{path}: cannot be read: {error.strerror}; a source is a file of JSON lines") from None
    if index == 0:
        raise DataInvalid(f"{path}: has no rows; a source is a file with one JSON object on each line")


def first_row(path: Path) -> JsonRow:
    """Return the first row. Raises DataInvalid as `read_rows` does."""
    return next(read_rows(path))


def where(path: Path, line: int) -> str:
    """Return how messages name a row."""
    return f"{path}:row {line}"


def _columns(data: bytes, path: Path, line: int) -> dict[str, Any]:
    try:
        columns = json.loads(data)
    except UnicodeDecodeError as error:
        raise DataInvalid(f"{where(path, line)}: byte {error.start} is not UTF-8; convert the file to UTF-8") from None
    except ValueError as error:  # json.JSONDecodeError, and integers of more digits than Python reads
        hint = "the file is one JSON array; write" if line == 1 and data.lstrip()[:1] == b"[" else "write"
        raise DataInvalid(f"{where(path, line)}: not JSON ({error}); {hint} one JSON object on each line") from None
    except RecursionError:
        raise DataInvalid(f"{where(path, line)}: nested too deeply; write one flat JSON object on each line") from None
    if not isinstance(columns, dict):
        raise DataInvalid(f"{where(path, line)}: a JSON {_kind(columns)}, not an object; "
                          'write rows like {"prompt": "...", "completion": "..."}')
    return columns


def _kind(value: Any) -> str:
    names = {list: "array", str: "string", bool: "boolean", int: "number", float: "number", type(None): "null"}
    return names[type(value)]
