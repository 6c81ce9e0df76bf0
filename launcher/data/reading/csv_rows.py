"""Rows of comma- or tab-separated tables. The first line names the columns; every cell is text.

Decides that a row is known by the line on which it begins, as editors number them.
"""

import csv
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from launcher.core.errors import DataInvalid
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

Cells = list[str] | str
"""The cells of a row, or what is wrong with it."""


@dataclass(frozen=True, slots=True)
class CsvRows:
    """Rows as cells."""

    path: str
    first: int
    done: int
    header: tuple[str, ...]
    lines: tuple[tuple[int, Cells], ...]

    def __len__(self) -> int:
        """Return how many rows there are."""
        return len(self.lines)

    def rows(self) -> Iterator[Row | BadRow]:
        """Give the cells their names."""
        for index, (number, cells) in enumerate(self.lines, self.first):
            place = place_of(self.path, number)
            problem = cells if isinstance(cells, str) else _problem(cells, self.header)
            yield Row(index, place, dict(zip(self.header, cells, strict=True))) if problem is None else \
                BadRow(index, place, problem)


def read_csv(file: OpenFile, delimiter: str, first: int, done: int) -> Iterator[RowBatch]:
    """Yield the rows of a file. Raises DataInvalid if its first line cannot name columns."""
    lines = _lines(file, delimiter)
    header = _header(file, next(lines, None))
    for batch in in_batches(lines, lambda line: sum(map(len, line[1]))):
        yield CsvRows(file.path, first, done + file.position, header, batch)
        first += len(batch)


def csv_columns(file: OpenFile, delimiter: str) -> tuple[str, ...]:
    """Return the names of the columns. Raises DataInvalid as `read_csv`."""
    return _header(file, next(_lines(file, delimiter), None))


def _lines(file: OpenFile, delimiter: str) -> Iterator[tuple[int, Cells]]:
    """Yield each row that is not blank with the line on which it begins. A byte that is no UTF-8 is told by `_problem`,
    for it must not end the reading of the other rows."""
    csv.field_size_limit(LARGEST_ROW_BYTES)
    table = csv.reader((_text(file, *line) for line in bounded_lines(file)), delimiter=delimiter, strict=True)
    while True:
        number = table.line_num + 1
        try:
            cells: Cells = next(table)
        except StopIteration:
            return
        except csv.Error as error:
            if "field limit" in str(error):
                raise DataInvalid(f"{place_of(file.path, number)}: a cell {TOO_LARGE}, or close its quotes") from None
            cells = f"not CSV ({error}); double the quotes inside quoted cells, and close each cell that opens one"
        if cells:
            yield number, cells


def _text(file: OpenFile, number: int, data: bytes) -> str:
    if len(data) > LARGEST_ROW_BYTES:
        raise DataInvalid(f"{place_of(file.path, number)}: {TOO_LARGE}")
    return data.decode(errors="surrogateescape")


def _header(file: OpenFile, line: tuple[int, Cells] | None) -> tuple[str, ...]:
    if line is None:
        return ()
    number, cells = line
    problem = cells if isinstance(cells, str) else _other_delimiter(cells) or _problem(cells, tuple(cells))
    twice = [name for name, count in Counter(cells).items() if count > 1] if problem is None else []
    if twice:
        problem = f"names the column {twice[0]!r} twice; give each column a name of its own"
    if problem is not None:
        raise DataInvalid(f"{place_of(file.path, number)}: {problem}")
    return tuple(cells)


def _other_delimiter(cells: list[str]) -> str | None:
    """Return what is wrong with a first line that is one column of names, as Excel writes it in half of the world."""
    found = next((name for sign, name in ((";", "semicolons"), ("\t", "tabs")) if sign in cells[0]), None)
    if len(cells) > 1 or found is None:
        return None
    return (f"names one column, {cells[0]!r}: its cells are separated by {found}; separate them by commas, or "
            "by tabs in a file named .tsv")


def _problem(cells: list[str], header: tuple[str, ...]) -> str | None:
    if len(cells) != len(header):
        return (f"has {len(cells)} cells, and the first line names {len(header)} columns; put cells that hold the "
                "separator in double quotes")
    joined = "".join(cells)
    if "\0" in joined:
        return "holds zero bytes; the file is damaged: fetch or write it again"
    try:
        joined.encode()
    except UnicodeEncodeError:
        return f"holds bytes that are not UTF-8; {CONVERT}"
    return None
