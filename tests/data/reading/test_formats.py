"""The same rows come out of every format, numbered through all files, in batches that cross to other processes."""

import bz2
import gzip
import io
import json
import lzma
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.core.recipe_sources import Source
from launcher.data.reading import BadRow, open_source
from launcher.data.reading import json_array as array_module
from launcher.data.reading.json_array import elements
from launcher.data.reading.opening import OpenFile
from launcher.data.reading.rows import BYTES_PER_BATCH, ROWS_PER_BATCH
from tests.data.files import arrow_file, csv_file, lines, parquet_file, zstandard

ROWS = [{"prompt": f'{place} "[{{\u2028\x85ü,', "completion": f"a,\n{place}"} for place in range(1100)]
LINES = lines(ROWS)
HALF = len(LINES) // 2
FILES = {
    "a.jsonl": LINES, "a.ndjson": LINES, "lines.json": LINES, "A.JSONL": LINES, "no_suffix": LINES, "a.v2": LINES,
    "a.json": json.dumps(ROWS).encode(), "indented.json": json.dumps(ROWS, indent=1).encode(),
    "array.jsonl": b"\xef\xbb\xbf \n" + json.dumps(ROWS).encode() + b"\n",
    "mark.jsonl": b"\xef\xbb\xbf" + LINES, "mark": b"\xef\xbb\xbf" + LINES, "end.jsonl": LINES[:-1],
    "crlf.jsonl": b"\r\n" + LINES.replace(b"\n", b"\r\n \r\n"),
    "a.csv": csv_file(ROWS), "a.tsv": csv_file(ROWS, "\t"), "mark.csv": b"\xef\xbb\xbf" + csv_file(ROWS),
    "a.parquet": parquet_file(ROWS, row_group_size=300), "parquet": parquet_file(ROWS),
    "a.arrow": arrow_file(ROWS), "s.arrow": arrow_file(ROWS, stream=True),
    "a.jsonl.gz": gzip.compress(LINES), "a.json.bz2": bz2.compress(json.dumps(ROWS).encode()),
    "a.csv.xz": lzma.compress(csv_file(ROWS)), "a.tsv.zst": zstandard(csv_file(ROWS, "\t")),
    "two_members.jsonl.gz": gzip.compress(LINES[:HALF]) + gzip.compress(LINES[HALF:]),
    "two_frames.jsonl.zst": zstandard(LINES[:HALF]) + zstandard(LINES[HALF:]),
    "gzip.jsonl": gzip.compress(LINES), "zstandard": zstandard(LINES),
}


def read(*paths, **said):
    """Return all rows of files, each batch having crossed to another process and back."""
    files = open_source(Source(path=tuple(map(str, paths)), **said))
    batches = [pickle.loads(pickle.dumps(batch)) for batch in files.batches()]
    assert all(len(batch) <= ROWS_PER_BATCH for batch in batches)
    assert [batch.first for batch in batches] == [sum(map(len, batches[:at])) for at in range(len(batches))]
    done = [batch.done for batch in batches]
    assert done == sorted(done) and done[-1] == files.size
    files.check_unchanged()
    return [row for batch in batches for row in batch.rows()]


@pytest.mark.parametrize("name", FILES)
def test_every_format_holds_the_same_rows(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(FILES[name])
    rows = read(path)
    assert [row.columns for row in rows] == ROWS
    assert [row.index for row in rows] == list(range(len(ROWS)))
    first = {"a.csv": 2, "a.tsv": 2, "mark.csv": 2, "a.csv.xz": 2, "a.tsv.zst": 2, "crlf.jsonl": 2}.get(name, 1)
    step = 2 if "csv" in name or "tsv" in name or "crlf" in name else 1  # cells hold line ends
    assert [row.place for row in rows] == [f"{path}:row {first + step * place}" for place in range(len(ROWS))]


def test_rows_are_numbered_through_all_files(tmp_path):
    for number, name in enumerate(("b.jsonl", "a.csv", "c.parquet")):
        data = {"jsonl": lines, "csv": csv_file, "parquet": parquet_file}[name[2:]]
        (tmp_path / name).write_bytes(data([{"text": f"{number} {place}"} for place in range(700)]))
    rows = read(tmp_path / "b.jsonl", tmp_path / "a.csv", tmp_path / "c.parquet")
    assert [row.columns["text"] for row in rows] == [f"{number} {place}" for number in range(3) for place in range(700)]
    assert [row.index for row in rows] == list(range(2100))
    assert rows[700].place == f"{tmp_path / 'a.csv'}:row 2" and rows[-1].place.endswith("c.parquet:row 700")


def test_a_text_file_is_one_document(tmp_path):
    for name in ("b.txt", "a.txt"):
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + name.encode() + b"\r\n\n\xc3\xbc")
    assert [row.columns["text"] for row in read(tmp_path)] == ["a.txt\r\n\nü", "b.txt\r\n\nü"]


WRITERS = {"a.jsonl": lines, "a.csv": csv_file, "a.parquet": parquet_file, "a.arrow": arrow_file,
           "a.json": lambda rows: json.dumps(rows).encode()}


@pytest.mark.parametrize("name", WRITERS)
def test_large_rows_make_small_batches(tmp_path, name):
    (tmp_path / name).write_bytes(WRITERS[name]([{"text": chr(97 + place) * 1_000_000} for place in range(20)]))
    files = open_source(Source(path=str(tmp_path / name)))
    batches = list(files.batches())
    assert len(batches) >= 4 and max(len(pickle.dumps(batch)) for batch in batches) < 1.3 * BYTES_PER_BATCH
    assert [row.columns["text"][:1] for batch in batches for row in batch.rows()] == list("abcdefghijklmnopqrst")


def test_tables_keep_their_types_and_lose_the_nulls_that_only_the_schema_asks_for(tmp_path):
    rows = [{"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A", "weight": 1}], "n": 3,
             "note": None}, {"messages": [], "n": 4, "note": "x"}]
    for name, data in (("a.parquet", parquet_file(rows)), ("a.arrow", arrow_file(rows)), ("a.jsonl", lines(rows))):
        (tmp_path / name).write_bytes(data)
        assert [row.columns for row in read(tmp_path / name)] == rows


def test_bad_rows_are_among_the_others_in_their_place(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "a"}\n\nno\n{"text": "b", "n": 12345678901234567890123, "x": NaN}\n')
    first, bad, last = read(tmp_path / "a.jsonl")
    assert isinstance(bad, BadRow) and (bad.index, bad.place) == (1, f"{tmp_path / 'a.jsonl'}:row 3")
    assert (first.index, last.index) == (0, 2) and last.columns["n"] == 12345678901234567890123
    (tmp_path / "a.csv").write_bytes(b'a,b\n1,2\n"x"y,2\n3\n5,\xff\n7,8\n')
    rows = read(tmp_path / "a.csv")
    assert [isinstance(row, BadRow) for row in rows] == [False, True, True, True, False]
    assert [row.place[-1] for row in rows] == list("23456")


TEXT = st.text(st.sampled_from('"\\[]{}, \nab\u00fc'), max_size=6)
VALUES = st.recursive(st.none() | st.integers() | TEXT, max_leaves=5, extend=lambda inner:
                      st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3))


@given(values=st.lists(VALUES, max_size=6), indent=st.sampled_from([None, 0, 3]), buffer=st.integers(1, 40))
def test_an_array_is_cut_into_its_elements_however_it_is_buffered(values, indent, buffer):
    data = json.dumps(values, indent=indent).encode()
    before = array_module.BUFFER_BYTES
    array_module.BUFFER_BYTES = buffer
    try:
        found = list(elements(OpenFile("a.json", io.BytesIO(data))))
    finally:
        array_module.BUFFER_BYTES = before
    assert [json.loads(text) for _, text in found] == values
    assert [number for number, _ in found] == list(range(1, len(values) + 1))
