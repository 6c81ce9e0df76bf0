"""A text file: one document, in the column `text`."""

from collections.abc import Iterator
from dataclasses import dataclass

from launcher.data.reading.opening import BYTE_ORDER_MARK, OpenFile
from launcher.data.reading.rows import CONVERT, LARGEST_ROW_BYTES, TOO_LARGE, BadRow, Row, RowBatch, place_of


@dataclass(frozen=True, slots=True)
class TextRow:
    """The one row of a text file."""

    path: str
    first: int
    done: int
    data: bytes

    def __len__(self) -> int:
        """Return how many rows there are."""
        return 1

    def rows(self) -> Iterator[Row | BadRow]:
        """Decode the text."""
        place = place_of(self.path, 1)
        if len(self.data) > LARGEST_ROW_BYTES:
            yield BadRow(self.first, place, f"a text file is one document, and this one {TOO_LARGE}")
            return
        if b"\0" in self.data:
            yield BadRow(self.first, place, "holds zero bytes, so it is no text; leave the file out, or write it again")
            return
        try:
            yield Row(self.first, place, {"text": self.data.decode()})
        except UnicodeDecodeError as error:
            yield BadRow(self.first, place, f"byte {error.start} is not UTF-8; {CONVERT}")


def read_text(file: OpenFile, first: int, done: int) -> Iterator[RowBatch]:
    """Yield the file as a row."""
    data = file.stream.read(LARGEST_ROW_BYTES + 1).removeprefix(BYTE_ORDER_MARK)
    yield TextRow(file.path, first, done + file.position, data)
