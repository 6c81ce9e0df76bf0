"""Opening parquet and Arrow files.

Decides that what lies on a local file system is mapped, and that anything else is read in pieces. Rows are
`reading.tables`.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from launcher.core.errors import DataInvalid
from launcher.data.reading.rows import ROWS_PER_BATCH
from launcher.data.reading.tables import first_line

if TYPE_CHECKING:
    from pyarrow import RecordBatch

# Of a column chunk, which may hold gigabytes, this much is read at a time.
COLUMN_BUFFER_BYTES = 1 << 20
ARROW = b"ARROW1"
STREAM_END = b"\xff\xff\xff\xff\0\0\0\0"


@dataclass(frozen=True, slots=True)
class TableFile:
    """An open table."""

    columns: tuple[str, ...]
    total: int
    """Its rows; 0 if that is not known before all are read."""
    tables: Iterator["RecordBatch"]


def open_parquet(path: str, raw: BinaryIO) -> TableFile:
    """Open a parquet file. Raises DataInvalid if it is none, or is not whole."""
    from pyarrow import ArrowException, parquet

    try:
        file = parquet.ParquetFile(raw, buffer_size=COLUMN_BUFFER_BYTES, pre_buffer=False)
        return TableFile(tuple(file.schema_arrow.names), file.metadata.num_rows,
                         file.iter_batches(batch_size=ROWS_PER_BATCH, use_threads=False))
    except (ArrowException, OSError) as error:
        raise _unreadable(path, "parquet", error) from None


def open_arrow(path: str, raw: BinaryIO, local: bool) -> TableFile:
    """Open an Arrow file, of either kind. Raises DataInvalid if it is none, or is not whole."""
    from pyarrow import ArrowException, ipc, memory_map

    try:
        raw.seek(0)
        stream = raw.read(len(ARROW)) != ARROW
        raw.seek(0)
        file: Any = memory_map(path) if local else raw
        if stream:
            _check_end(raw)
        opened: Any = ipc.open_stream(file) if stream else ipc.open_file(file)
        tables = _to_the_end(opened, file) if stream else map(opened.get_batch, range(opened.num_record_batches))
        return TableFile(tuple(opened.schema.names), 0, tables)
    except (ArrowException, OSError) as error:
        raise _unreadable(path, "Arrow", error) from None


def _check_end(raw: BinaryIO) -> None:
    """Raise OSError for a stream that lacks its end mark: pyarrow takes one that is cut off between two batches."""
    raw.seek(-len(STREAM_END), os.SEEK_END)
    if raw.read() != STREAM_END:
        raise OSError("it does not end as Arrow streams do")
    raw.seek(0)


def _to_the_end(stream: Any, file: Any) -> Iterator["RecordBatch"]:
    yield from stream
    # A hole of zeros in the middle reads as an end.
    if file.read(1):
        raise OSError("the stream ends before the file does")


def _unreadable(path: str, kind: str, error: Exception) -> DataInvalid:
    return DataInvalid(f"{path}: is not a whole {kind} file ({first_line(error)}); fetch or write it again, or rename "
                       "it if it is of another format")
