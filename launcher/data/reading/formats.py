"""Which format an open file has.

Decides by the first bytes where they tell, else by the name. What is neither is refused, saying what it looks like.
"""

from typing import Literal

from launcher.core.errors import DataInvalid
from launcher.data.reading.opening import OpenFile
from launcher.storage.data_paths import DATA_SUFFIXES

Format = Literal["json", "csv", "tsv", "txt", "parquet", "arrow"]
FORMATS: dict[str, Format] = {".jsonl": "json", ".ndjson": "json", ".json": "json", ".csv": "csv", ".tsv": "tsv",
                              ".txt": "txt", ".parquet": "parquet", ".arrow": "arrow"}
TABLE_MAGIC: dict[bytes, Format] = {b"PAR1": "parquet", b"ARROW1": "arrow", b"\xff\xff\xff\xff": "arrow"}
ARTICLE = {"parquet": "a", "arrow": "an"}
ARCHIVES = (b"PK\x03\x04", b"7z\xbc\xaf")
WORKBOOKS = (".xlsx", ".xls", ".ods")
WORKBOOK_MAGIC = b"\xd0\xcf\x11\xe0"
UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def format_of(file: OpenFile, suffix: str | None) -> Format:
    """Return the format of a file that has not been read yet. Raises DataInvalid if there is none it may be."""
    head = file.head()
    named = FORMATS.get(suffix or "")
    told: Format | None = next((kind for magic, kind in TABLE_MAGIC.items() if head.startswith(magic)), None)
    if told is not None and file.compression is not None:
        raise DataInvalid(f"{file.path}: is {ARTICLE[told]} {told} file inside a {file.compression} file; unpack it: "
                          f"{told} can be read only where it lies whole")
    if told is not None:
        return told
    if head.startswith(UTF_16) or head[1:8:2] == b"\0\0\0\0":
        raise DataInvalid(f"{file.path}: is UTF-16 text; convert it to UTF-8, for example with "
                          "iconv -f UTF-16 -t UTF-8")
    if head.startswith(WORKBOOK_MAGIC) or file.path.lower().endswith(WORKBOOKS):
        raise DataInvalid(f"{file.path}: is a workbook; save its sheet as CSV in UTF-8")
    if head.startswith(ARCHIVES):
        raise DataInvalid(f"{file.path}: is an archive; unpack it, and name the files in it")
    if named in ("parquet", "arrow"):
        raise DataInvalid(f"{file.path}: is not {ARTICLE[named]} {named} file, though named so{_looks(head)}; rename "
                          "it, or fetch or write it again")
    if named is not None:
        return named
    if head.lstrip()[:1] in (b"{", b"["):
        return "json"
    raise DataInvalid(f"{file.path}: has no format that is known{_looks(head)}; name it by its format, one of "
                      f"{', '.join(DATA_SUFFIXES)}")


def _looks(head: bytes) -> str:
    """Return what a file looks like that is not what it was taken for."""
    start = head.lstrip()[:1]
    if not head:
        return ", but empty"
    if start == b"<":
        return ", and looks like a web page"
    if start in (b"{", b"["):
        return ", and looks like JSON"
    return "" if b"\0" in head else ", and looks like text"
