"""Rows that are JSON objects: on a line each, or as the elements of one array.

Decides where a row begins and ends. The reading process only cuts, which is quick; parsing is `JsonRows.rows`, wherever
that is called.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from launcher.data.reading.json_array import elements
from launcher.data.reading.lines import bounded_lines
from launcher.data.reading.opening import OpenFile
from launcher.data.reading.rows import (
    CONVERT,
    LARGEST_ROW_BYTES,
    TOO_LARGE,
    BadRow,
    Row,
    RowBatch,
    in_batches,
    place_of,
)


@dataclass(frozen=True, slots=True)
class JsonRows:
    """Objects as text, with the number that each has in its file."""

    path: str
    first: int
    done: int
    texts: tuple[tuple[int, bytes], ...]

    def __len__(self) -> int:
        """Return how many rows there are."""
        return len(self.texts)

    def rows(self) -> Iterator[Row | BadRow]:
        """Parse the rows."""
        for index, (number, data) in enumerate(self.texts, self.first):
            place = place_of(self.path, number)
            try:
                yield Row(index, place, columns_of(data, number))
            except ValueError as error:
                yield BadRow(index, place, str(error))


def read_json(file: OpenFile, first: int, done: int) -> Iterator[RowBatch]:
    """Yield the rows of a file of JSON lines, or of one JSON array, whichever its first character says."""
    if file.head().lstrip()[:1] == b"[":
        yield from _batches(file, elements(file), first, done)
    else:
        # Only newline bytes end a line: str.splitlines also splits at Unicode separators inside strings.
        yield from _batches(file, (line for line in bounded_lines(file) if not line[1].isspace()), first, done)


def _batches(file: OpenFile, texts: Iterable[tuple[int, bytes]], first: int, done: int) -> Iterator[RowBatch]:
    for batch in in_batches(texts, lambda text: len(text[1])):
        yield JsonRows(file.path, first, done + file.position, batch)
        first += len(batch)


def columns_of(data: bytes, number: int) -> dict[str, Any]:
    """Return the columns of one row. Raises ValueError saying what is wrong with it, without its place."""
    if len(data) > LARGEST_ROW_BYTES:
        raise ValueError(TOO_LARGE)
    try:
        columns = json.loads(data)
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is not UTF-8; {CONVERT}") from None
    except ValueError as error:  # json.JSONDecodeError, and integers of more digits than Python reads
        hint = "the file seems to be one object over several lines; " if (number, data.strip()) == (1, b"{") else ""
        raise ValueError(f"not JSON ({error}); {hint}write one JSON object on each line, or one array of "
                         "them") from None
    except RecursionError:
        raise ValueError("nested too deeply; write a flat JSON object") from None
    if not isinstance(columns, dict):
        raise ValueError(f"a JSON {_kind(columns)}, not an object; "
                         'write rows like {"prompt": "...", "completion": "..."}')
    return columns


def _kind(value: Any) -> str:
    names = {list: "array", str: "string", bool: "boolean", int: "number", float: "number", type(None): "null"}
    return names[type(value)]
