"""What a source is made of: parts in order, each a file (or a table of the hub) that yields batches of rows.

Decides what a part offers, and that a text file without rows is refused. Formats are `reading.formats` and a module
each; where a file lies is `reading.places`; which parts a source has is `reading.finding`.
"""

from collections.abc import Iterator
from typing import Protocol

from launcher.core.document import fingerprint
from launcher.core.errors import DataInvalid
from launcher.data.hashes import Stamp
from launcher.data.reading.csv_rows import csv_columns, read_csv
from launcher.data.reading.formats import FORMATS, Format, format_of
from launcher.data.reading.json_rows import read_json
from launcher.data.reading.opening import DAMAGED, UNPACKED_BYTES, OpenFile
from launcher.data.reading.places import Place
from launcher.data.reading.plain_text import read_text
from launcher.data.reading.rows import RowBatch
from launcher.data.reading.table_files import TableFile, open_arrow, open_parquet
from launcher.data.reading.tables import batches_of, first_line
from launcher.storage.data_paths import data_suffix
from launcher.storage.store import Store

TABLES = ("parquet", "arrow")
DELIMITERS: dict[Format, str] = {"csv": ",", "tsv": "\t"}


class Part(Protocol):
    """One file of a source. Everything may raise DataInvalid, which names the part."""

    path: str
    """As messages name it."""
    light: bool
    """Whether its first row is at hand without the network or a heavy import."""
    headed: bool
    """Whether its first line names the columns."""
    found: Stamp
    """What `stamp` was when the part was found."""

    @property
    def size(self) -> int:
        """Return its bytes, for progress."""
        ...

    def batches(self, first: int, done: int) -> Iterator[RowBatch]:
        """Yield the rows; `first` rows and `done` bytes of the source come before this part."""
        ...

    def columns(self) -> tuple[str, ...] | None:
        """Return the names of a table's columns; None for a file whose rows each bring their own."""
        ...

    def stamp(self) -> Stamp:
        """Return what changes when the part is written, as it is now."""
        ...

    def content(self, store: Store) -> str:
        """Return what the content is known by."""
        ...


class FilePart:
    """A file in one of the formats that are read."""

    def __init__(self, place: Place) -> None:
        self.path, self.found, self._place = place.path, place.found, place
        self._suffix = data_suffix(place.name)
        self._is_table = FORMATS.get(self._suffix or "") in TABLES
        self.light = place.local
        self.headed = self._suffix in (".csv", ".tsv")

    @property
    def size(self) -> int:
        """Return its bytes."""
        return self._place.size

    def stamp(self) -> Stamp:
        """Return what changes when the file is written, as it is now."""
        return self._place.stamp()

    def content(self, store: Store) -> str:
        """Return the hash of the bytes and of the format that the name says: the same bytes may mean other rows."""
        return fingerprint(self._place.content(store), FORMATS.get(self._suffix or ""))

    def columns(self) -> tuple[str, ...] | None:
        """Return the names of a table's columns."""
        if FORMATS.get(self._suffix or "") in ("json", "txt"):
            return None
        with self._place.open(anywhere=self._is_table) as raw:
            # A glance at perhaps thousands of files, at every start of a run.
            file = OpenFile(self.path, raw, UNPACKED_BYTES)
            kind = format_of(file, self._suffix)
            if kind in DELIMITERS:
                return csv_columns(file, DELIMITERS[kind])
            return self._table(kind, file).columns if kind in TABLES else None

    def batches(self, first: int, done: int) -> Iterator[RowBatch]:
        """Yield the rows. Raises DataInvalid where the file is damaged, or has no rows though it might."""
        with self._place.open(anywhere=self._is_table) as raw:
            file = OpenFile(self.path, raw)
            try:
                kind = format_of(file, self._suffix)
                before = first
                for batch in self._rows(kind, file, first, done):
                    yield batch
                    first += len(batch)
            except (*DAMAGED, OSError) as error:
                if file.compression is None:
                    raise
                raise DataInvalid(f"{self.path}: cannot be unpacked behind row {file.row} ({first_line(error)}); the "
                                  "file is cut off or damaged: fetch or write it again") from None
        # Parquet writers leave empty files among others; a text file that is empty has lost its rows.
        if first == before and kind not in TABLES:
            raise DataInvalid(f"{self.path}: has no rows; fetch or write it again, or leave it out")

    def _rows(self, kind: Format, file: OpenFile, first: int, done: int) -> Iterator[RowBatch]:
        if kind == "json":
            return read_json(file, first, done)
        if kind in DELIMITERS:
            return read_csv(file, DELIMITERS[kind], first, done)
        if kind == "txt":
            return read_text(file, first, done)
        table = self._table(kind, file)
        return batches_of(self.path, table.tables, table.total, self.size, first, done)

    def _table(self, kind: Format, file: OpenFile) -> TableFile:
        if kind == "parquet":
            return open_parquet(self.path, file.raw)
        return open_arrow(self.path, file.raw, self._place.local)
