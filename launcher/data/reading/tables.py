"""Rows of Arrow tables: parquet files, Arrow files, and what `datasets` keeps in memory maps.

Decides how much of a table is in memory at a time. Imports pyarrow only where there is such a table.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from launcher.core.errors import DataInvalid
from launcher.data.reading.rows import (
    BYTES_PER_BATCH,
    LARGEST_ROW_BYTES,
    ROWS_PER_BATCH,
    TOO_LARGE,
    BadRow,
    Row,
    RowBatch,
    place_of,
)

if TYPE_CHECKING:
    from pyarrow import RecordBatch


@dataclass(frozen=True, slots=True)
class TableRows:
    """Rows as columns of a table."""

    path: str
    first: int
    done: int
    number: int
    """Of the first row in its file, from 1."""
    table: "RecordBatch"

    def __len__(self) -> int:
        """Return how many rows there are."""
        return self.table.num_rows

    def rows(self) -> Iterator[Row | BadRow]:
        """Convert the columns to Python values."""
        try:
            found: list[dict[str, Any] | str] = [_without_nulls(columns) for columns in self.table.to_pylist()]
        except (ValueError, OverflowError):
            # Parquet files may hold text that is no UTF-8, and dates that Python does not know: find the row.
            found = [_columns(self.table.slice(place, 1)) for place in range(len(self))]
        for place, columns in enumerate(found):
            index, where = self.first + place, place_of(self.path, self.number + place)
            if isinstance(columns, dict) and len(self) == 1 and self.table.nbytes > LARGEST_ROW_BYTES:
                columns = TOO_LARGE
            yield BadRow(index, where, columns) if isinstance(columns, str) else Row(index, where, columns)

    def __reduce__(self) -> tuple[Callable[..., "TableRows"], tuple[Any, ...]]:
        """Pickle the rows alone: a slice would take the whole table with it."""
        return _unpickled, (self.path, self.first, self.done, self.number, _packed(self.table))


def bounded(table: "RecordBatch") -> Iterator["RecordBatch"]:
    """Yield a table in parts of at most the rows and bytes of a batch, but one row at least."""
    if table.num_rows > ROWS_PER_BATCH:
        for start in range(0, table.num_rows, ROWS_PER_BATCH):
            yield from bounded(table.slice(start, ROWS_PER_BATCH))
    elif table.num_rows > 1 and table.nbytes > BYTES_PER_BATCH:
        half = table.num_rows // 2
        yield from bounded(table.slice(0, half))
        yield from bounded(table.slice(half))
    elif table.num_rows:
        yield table


def batches_of(path: str, tables: Iterator["RecordBatch"], total: int, size: int, first: int,
               done: int) -> Iterator[RowBatch]:
    """Yield the rows of a file of `size` bytes with `total` rows. Raises DataInvalid where pyarrow cannot read on."""
    from pyarrow import ArrowException

    number = 1
    try:
        for table in tables:
            for part in bounded(_decoded(table)):
                _validate(part)
                read = done + size * (number - 1 + part.num_rows) // max(total, number - 1 + part.num_rows)
                yield TableRows(path, first + number - 1, read, number, part)
                number += part.num_rows
    except (ArrowException, OSError) as error:
        raise DataInvalid(f"{place_of(path, number)}: cannot be read ({first_line(error)}); the file is cut off or "
                          "damaged from here on: fetch or write it again") from None


def _validate(table: "RecordBatch") -> None:
    """Raise ArrowInvalid for a damaged table: pyarrow reads wherever its offsets point, beyond all memory too.

    Text that is no UTF-8 is left to its row.
    """
    from pyarrow import ArrowInvalid

    for column in table.columns:
        try:
            column.validate(full=True)
        except ArrowInvalid as error:
            if "UTF8" not in str(error):
                raise


def _decoded(table: "RecordBatch") -> "RecordBatch":
    """Return a table with each value in its place: a dictionary of values would go along with every few rows."""
    from pyarrow import RecordBatch, types

    if not any(types.is_dictionary(field.type) for field in table.schema):
        return table
    columns = [column.dictionary_decode() if types.is_dictionary(column.type) else column for column in table.columns]
    return RecordBatch.from_arrays(columns, names=table.schema.names)


def first_line(error: BaseException) -> str:
    """Return an error's message, short: of libraries' long ones the first line says what is wrong."""
    return str(error).strip().partition("\n")[0][:200] or type(error).__name__


def _columns(row: "RecordBatch") -> dict[str, Any] | str:
    try:
        return _without_nulls(row.to_pylist()[0])
    except (ValueError, OverflowError) as error:
        return f"cannot be read ({first_line(error)}); write text as UTF-8, or remove the row"


def _without_nulls(columns: dict[str, Any]) -> dict[str, Any]:
    """Return a row without the null fields inside its values: in a table each message has every field of any message.

    A column that is null stays, for it is null in JSON lines too.
    """
    return {name: _pruned(value) if isinstance(value, list | dict) else value for name, value in columns.items()}


def _pruned(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _pruned(item) for name, item in value.items() if item is not None}
    return [_pruned(item) for item in value] if isinstance(value, list) else value


def _packed(table: "RecordBatch") -> bytes:
    from pyarrow import BufferOutputStream, ipc

    sink = BufferOutputStream()
    with ipc.new_stream(sink, table.schema) as writer:
        writer.write_batch(table)
    return sink.getvalue().to_pybytes()


def _unpickled(path: str, first: int, done: int, number: int, packed: bytes) -> TableRows:
    from pyarrow import ipc

    return TableRows(path, first, done, number, next(iter(ipc.open_stream(packed))))
