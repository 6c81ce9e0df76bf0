"""Contents of data files in all formats, and what a careless copy leaves of them."""

import csv
import io
import json
from itertools import pairwise
from typing import Any

import pyarrow as pa
from pyarrow import ipc, parquet

Rows = list[dict[str, Any]]
GOOD = b'{"prompt": "1 + 1 =", "completion": "2"}\n'
CHAT = b'{"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]}\n'
SUMS: Rows = [{"prompt": f"{a} + {b} =", "completion": str(a + b)} for a in range(6) for b in range(6)]
WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
TALK: Rows = [{"messages": [{"role": "user", "content": f"after {one}?"}, {"role": "assistant", "content": two}]}
              for one, two in pairwise(WORDS)]


def lines(rows: Rows) -> bytes:
    """Return JSON lines."""
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


def chat(*messages: dict[str, Any]) -> bytes:
    """Return a good chat and one of these messages."""
    return CHAT + json.dumps({"messages": list(messages)}).encode()


def parquet_file(rows: Rows, **options: Any) -> bytes:
    """Return a parquet file."""
    return table_file(pa.Table.from_pylist(rows), **options)


def table_file(table: pa.Table, **options: Any) -> bytes:
    """Return a table as a parquet file."""
    sink = io.BytesIO()
    parquet.write_table(table, sink, **options)
    return sink.getvalue()


def arrow_file(rows: Rows, stream: bool = False) -> bytes:
    """Return an Arrow file, of either kind."""
    table, sink = pa.Table.from_pylist(rows), io.BytesIO()
    with (ipc.new_stream if stream else ipc.new_file)(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=10)
    return sink.getvalue()


def csv_file(rows: Rows, delimiter: str = ",") -> bytes:
    """Return a table as spreadsheets write it."""
    sink = io.StringIO(newline="")
    writer = csv.DictWriter(sink, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return sink.getvalue().encode()


def zstandard(data: bytes) -> bytes:
    """Return data as zstd packs it."""
    return bytes(pa.compress(data, "zstd", asbytes=True))


def cut(data: bytes, share: float = 0.6) -> bytes:
    """Return the beginning of data."""
    return data[:int(len(data) * share)]


def zeroed(data: bytes, share: float = 0.5) -> bytes:
    """Return data with a hole of zeros at the first Arrow message behind a share of it."""
    start = data.index(b"\xff\xff\xff\xff", int(len(data) * share))
    return data[:start] + b"\0" * 64 + data[start + 64:]
