"""A source's files, found and opened: in which order they are read, and what the source as a whole is known by.

Decides that rows are numbered through all files. Reading one is `reading.parts`; what a fingerprint covers beside the
content is `data.identity`.
"""

from collections.abc import Iterator

from launcher.core.document import fingerprint
from launcher.core.errors import DataInvalid
from launcher.core.recipe_sources import Source
from launcher.data.reading.finding import find_parts
from launcher.data.reading.parts import Part
from launcher.data.reading.rows import BadRow, Row, RowBatch
from launcher.storage.store import Store


class SourceFiles:
    """The files of one source, in order."""

    def __init__(self, parts: tuple[Part, ...], *, skip_bad: bool) -> None:
        self._parts, self._skip_bad = parts, skip_bad

    @property
    def files(self) -> tuple[str, ...]:
        """Return the files as messages name them."""
        return tuple(part.path for part in self._parts)

    @property
    def size(self) -> int:
        """Return the bytes of all files."""
        return sum(part.size for part in self._parts)

    def batches(self) -> Iterator[RowBatch]:
        """Yield all rows. Raises DataInvalid for a file that cannot be read, or if there is no row at all."""
        first = done = 0
        for part in self._parts:
            for batch in part.batches(first, done):
                yield batch
                first = batch.first + len(batch)
            done += part.size
        if not first:
            raise DataInvalid(f"{self._named()}: has no rows; fetch or write it again")

    def first_row(self) -> Row:
        """Return the first row; the first that can be read where the source may have bad ones. Raises DataInvalid."""
        bad: BadRow | None = None
        for batch in self.batches():
            for row in batch.rows():
                if isinstance(row, Row):
                    return row
                bad = bad or row
                if not self._skip_bad:
                    raise DataInvalid(f"{row.place}: {row.problem}")
        assert bad is not None
        raise DataInvalid(f"{bad.place}: {bad.problem}; nor can any other row be read")

    @property
    def light(self) -> bool:
        """Return whether the first row is at hand without the network or a heavy import."""
        return self._parts[0].light

    def tables(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Yield the files that are tables, with their columns, as far as they are on this machine."""
        for part in self._parts:
            if part.light and (columns := part.columns()) is not None:
                yield part.path, columns

    def hint(self) -> str:
        """Return what else might be wrong if the first row has no columns that are known."""
        return "; the first line of such a file names its columns" if self._parts[0].headed else ""

    def content(self, store: Store) -> str:
        """Return what the content is known by: the files' bytes in order, not their names or places."""
        return fingerprint([part.content(store) for part in self._parts])

    def check_unchanged(self) -> None:
        """Raise DataInvalid if a file was written since this object was made: call it after the last batch."""
        for part in self._parts:
            if part.stamp() != part.found:
                raise DataInvalid(f"{part.path}: was changed while it was read; prepare again when it is complete")

    def _named(self) -> str:
        names = self.files
        return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def open_source(source: Source, store: Store | None = None) -> SourceFiles:
    """Return a source's files. Raises DataInvalid for what is not there, without reading any row.

    The store remembers which commit an id of the hub meant when it was first asked for.
    """
    return SourceFiles(find_parts(source, source.paths, store), skip_bad=source.skip_bad > 0)


def open_holdout(source: Source, store: Store | None = None) -> SourceFiles | None:
    """Return the files of a source's `holdout.path`, or None if it has none. Raises DataInvalid as `open_source`."""
    if source.holdout.path is None:
        return None
    return SourceFiles(find_parts(source, (source.holdout.path,), store), skip_bad=source.skip_bad > 0)
