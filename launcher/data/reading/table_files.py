"""Opening parquet and Arrow files.

Decides that what lies on a local file system is mapped, and that anything else is read in pieces. Rows are
`reading.tables`.
"""

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
        opened: Any = ipc.open_stream(file) if stream else ipc.open_file(file)
        tables = iter(opened) if stream else map(opened.get_batch, range(opened.num_record_batches))
        return TableFile(tuple(opened.schema.names), 0, tables)
    except (ArrowException, OSError) as error:
        raise _unreadable(path, "Arrow", error) from None


def _unreadable(path: str, kind: str, error: Exception) -> DataInvalid:
    return DataInvalid(f"{path}: is not a whole {kind} file ({first_line(error)}); fetch or write it again, or rename "
                       "it if it is of another format")
