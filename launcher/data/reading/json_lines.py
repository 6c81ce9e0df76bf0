"""JSON lines: one object on each line.

The reading process only cuts lines, which is quick; parsing them is `JsonRows.rows`, wherever that is called.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from launcher.data.reading.rows import (
    BYTES_PER_BATCH,
    LARGEST_ROW_BYTES,
    ROWS_PER_BATCH,
    BadRow,
    Row,
    RowBatch,
    place_of,
)

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
ONE_OBJECT = "write one JSON object on each line"


@dataclass(frozen=True, slots=True)
class JsonRows:
    """Objects as text, with the number that each has in its file."""

    path: str
    first: int
    done: int
    lines: tuple[tuple[int, bytes], ...]

    def __len__(self) -> int:
        """Return how many rows there are."""
        return len(self.lines)

    def rows(self) -> Iterator[Row | BadRow]:
        """Parse the rows."""
        for index, (number, data) in enumerate(self.lines, self.first):
            place = place_of(self.path, number)
            try:
                yield Row(index, place, columns_of(data, number))
            except ValueError as error:
                yield BadRow(index, place, str(error))


def read_json_lines(path: str, stream: BinaryIO, first: int, done: int) -> Iterator[RowBatch]:
    """Yield the rows of a file. Blank lines are no rows; only newline bytes end a line.

    `str.splitlines` would also split at Unicode separators inside strings.
    """
    lines: list[tuple[int, bytes]] = []
    size = 0
    for number, data in bounded_lines(stream):
        if data.isspace():
            continue
        lines.append((number, data))
        size += len(data)
        if len(lines) == ROWS_PER_BATCH or size >= BYTES_PER_BATCH:
            yield JsonRows(path, first, done + stream.tell(), tuple(lines))
            first, lines, size = first + len(lines), [], 0
    if lines:
        yield JsonRows(path, first, done + stream.tell(), tuple(lines))


def bounded_lines(stream: BinaryIO) -> Iterable[tuple[int, bytes]]:
    """Yield lines with their numbers from 1, without a byte order mark. Too long ones are cut off just above the limit
    and their rest is passed over, so that no file, whatever it holds, fills the memory.
    """
    number, readline, limit = 0, stream.readline, LARGEST_ROW_BYTES + 1
    while data := readline(limit):
        number += 1
        if number == 1:
            data = data.removeprefix(BYTE_ORDER_MARK)
        rest = data
        while len(rest) == limit and not rest.endswith(b"\n"):
            rest = readline(limit)
        yield number, data


def columns_of(data: bytes, number: int) -> dict[str, Any]:
    """Return the columns of one row. Raises ValueError saying what is wrong with it, without its place."""
    if len(data) > LARGEST_ROW_BYTES:
        raise ValueError(f"is longer than {LARGEST_ROW_BYTES >> 20} MiB; remove the row, or split the document")
    try:
        columns = json.loads(data)
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is not UTF-8; convert the file to UTF-8") from None
    except ValueError as error:  # json.JSONDecodeError, and integers of more digits than Python reads
        hint = "the file is one JSON array; write" if number == 1 and data.lstrip()[:1] == b"[" else "write"
        raise ValueError(f"not JSON ({error}); {hint} {ONE_OBJECT.removeprefix('write ')}") from None
    except RecursionError:
        raise ValueError("nested too deeply; write one flat JSON object on each line") from None
    if not isinstance(columns, dict):
        raise ValueError(f"a JSON {_kind(columns)}, not an object; "
                         'write rows like {"prompt": "...", "completion": "..."}')
    return columns


def _kind(value: Any) -> str:
    names = {list: "array", str: "string", bool: "boolean", int: "number", float: "number", type(None): "null"}
    return names[type(value)]
