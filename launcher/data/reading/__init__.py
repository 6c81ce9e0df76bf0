"""From what a recipe names to rows: files, globs, folders, URLs, saved datasets and hub ids, in all their formats.

    open_source(source, store) -> SourceFiles            all files of a source, found and checked, nothing read yet
    open_holdout(source, store) -> SourceFiles | None    those of `holdout.path`, read in the same way
    SourceFiles.batches() -> Iterator[RowBatch]          rows as they were read, to be parsed where they are used
    SourceFiles.content(store), .check_unchanged()       what the bytes are known by, and whether they still are
    RowBatch.rows() -> Iterator[Row | BadRow]

`sources` finds the files, `parts` says what one file offers, `formats` which format it has, and each format has a
module of its own. What a row must hold is `rendering.forms`. Everything that is wrong with a file as a whole is a
DataInvalid that names it; what is wrong with one row is a BadRow, which its reader may be allowed to skip.
"""

from launcher.data.reading.rows import BadRow, Row, RowBatch
from launcher.data.reading.sources import SourceFiles, open_holdout, open_source

__all__ = ["BadRow", "Row", "RowBatch", "SourceFiles", "open_holdout", "open_source"]
