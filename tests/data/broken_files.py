"""Broken data, by what is wrong with it: the files, what the recipe says of them, and what a person is told."""

import bz2
import gzip
import json
import lzma
from typing import Any, NamedTuple

import pyarrow as pa

from tests.data.files import (
    CHAT,
    GOOD,
    SUMS,
    arrow_file,
    chat,
    csv_file,
    cut,
    lines,
    parquet_file,
    table_file,
    zeroed,
    zstandard,
)


class Broken(NamedTuple):
    """One thing that is wrong."""

    data: bytes | dict[str, bytes]
    """Of data.jsonl, or of several files by name."""
    message: str
    source: dict[str, Any] = {}  # noqa: RUF012
    """What the recipe says of it; `path` is the first file if it is not among this."""
    row_length: int = 64


def _letters(rows: int) -> bytes:
    """Return rows that pack badly, so that half of the packed bytes are half of the rows."""
    return lines([{"text": "".join(chr(33 + (row * place * 7919) % 90) for place in range(1, 200))}
                  for row in range(1, rows + 1)])


_ROWS = _letters(1500)

LINES = {
    "not json": Broken(GOOD + b"prompt: 1", r":row 2: not JSON \(.*\); write one JSON object on each line"),
    "cut off": Broken(GOOD + GOOD[:-9], r":row 2: not JSON \(Unterminated string"),
    "a number": Broken(GOOD + b"12\n", ":row 2: a JSON number, not an object"),
    "a text": Broken(GOOD + b'"prompt"\n', ":row 2: a JSON string, not an object"),
    "null as a row": Broken(GOOD + b"null\n", ":row 2: a JSON null, not an object"),
    "not utf-8": Broken(GOOD + GOOD.replace(b"2", b"\xff"), ":row 2: byte 37 is not UTF-8; convert the file"),
    "latin-1": Broken(GOOD + '{"prompt": "Größe", "completion": "2"}'.encode("latin-1"),
                      ":row 2: byte 14 is not UTF-8; convert .* iconv -f WINDOWS-1252 -t UTF-8"),
    "utf-16": Broken(GOOD.decode().encode("utf-16"), "data.jsonl: is UTF-16 text; convert it to UTF-8"),
    "utf-16 without a mark": Broken(GOOD.decode().encode("utf-16-le"), "data.jsonl: is UTF-16 text"),
    "a hole": Broken(GOOD + b"\0" * 4096, ":row 2: not JSON"),
    "binary": Broken(b"\x7fELF\x02\x01\x01\n", ":row 1: not JSON"),
    "nested for ever": Broken(GOOD + b'{"prompt": ' + b"[" * 100_000, ":row 2: (nested too deeply|not JSON)"),
    "one object over lines": Broken(b'{\n"prompt": "1",\n"completion": "2"\n}',
                                    ":row 1: .* one object over several lines"),
    "empty": Broken(b"", "data.jsonl: has no rows; fetch or write it again"),
    "blank lines": Broken(b"\n \n\r\n", "data.jsonl: has no rows"),
    "unknown columns": Broken(b'{"question": "1", "the answer": "2"}', ":row 1: the columns 'question', 'the answer' "
                              r'are none .* such as fields: \{prompt: "question", completion: "the answer"\}'),
    "one unknown column": Broken(b'{"body": "1"}', r'in the recipe where each is, such as fields: \{text: "body"\}'),
    "no columns": Broken(b"{}", r":row 1: the columns \(none\) are none of the known forms"),
    "two forms": Broken(b'{"text": "a", "prompt": "b", "completion": "c"}',
                        ":row 1: the columns fit prompt_completion and"),
    "mixed forms": Broken(GOOD + b'{"text": "a"}', ":row 2: no column 'prompt', .*; this row looks like text"),
    "a missing field": Broken(GOOD + b'\n{"prompt": "a"}', ":row 3: no column 'completion'.*add it or remove the row"),
    "another format": Broken(GOOD, ":row 1: no column 'messages'", {"format": "messages"}),
    "a null field": Broken(GOOD + b'{"prompt": null, "completion": "2"}', ":row 2: prompt must be text, not null"),
    "a list": Broken(b'{"prompt": [], "completion": "2"}', ":row 1: prompt must be text, not list"),
    "an object": Broken(b'{"text": {"text": "2"}}', ":row 1: text must be text, not dict"),
    "half a character": Broken(GOOD + b'{"prompt": "\\ud83d", "completion": "2"}',
                               ":row 2: prompt holds half of a surr"),
    "no messages": Broken(CHAT + b'{"messages": []}', ":row 2: messages must be a list of at least one"),
    "messages as text": Broken(CHAT + b'{"messages": "hi"}', ":row 2: messages must be a list"),
    "a message as text": Broken(CHAT + b'{"messages": ["hi"]}', ":row 2: message 1"),
    "another role": Broken(chat({"role": "bot", "content": "A"}), ":row 2: message 1 has the role 'bot'; roles are"),
    "a role typed wrongly": Broken(chat({"role": "asistant", "content": "A"}),
                                   "has the role 'asistant'; did you mean assistant[?] roles are system, user"),
    "a role in a list": Broken(chat({"role": ["user"], "content": "A"}), ":row 2: message 1 has the role"),
    "other keys": Broken(chat({"speaker": "human", "value": "A"}), ":row 2: message 1 is not .* 'speaker', 'value'"),
    "null content": Broken(chat({"role": "user", "content": None}), ":row 2: message 1"),
    "an image": Broken(chat({"role": "user", "content": [{"type": "image_url", "image_url": {}}]}),
                       ":row 2: message 1: c"),
    "marks": Broken(chat({"role": "assistant", "content": "\ue0a5turn0\ue0a6"}), ":row 2: .* private-use"),
    "nothing to learn": Broken(b'{"prompt": "1", "completion": ""}',
                               "1 of 1 document has nothing to learn [(]1 has an empty answer[)], more"),
    "learnt behind the row": Broken(lines([{"prompt": "1" * 90, "completion": "2"}] * 3 + [
        {"prompt": "1", "completion": ""}]), "3 of 4 documents have more tokens than the 8 of a row, and what is to "
        "be learnt behind them, and 1 more has nothing to learn, more than .* raise sequence_length, or", {}, 8),
    "all held out": Broken(GOOD, "no document is left to train on: .* 1 are held out", {"holdout": 1}),
    "all too long": Broken(GOOD.replace(b"2", b"2" * 20), "1 are longer than 8 tokens", {"too_long": "drop"}, 8),
}
PACKED = {
    "gzip cut off": Broken({"a.jsonl.gz": cut(gzip.compress(_ROWS))},
                           r"cannot be unpacked behind row \d\d+ .*cut off or d"),
    "bzip2 cut off": Broken({"a.jsonl.bz2": cut(bz2.compress(_letters(9000)))}, r"cannot be unpacked behind row \d"),
    "xz cut off": Broken({"a.jsonl.xz": cut(lzma.compress(_ROWS))}, r"cannot be unpacked behind row \d"),
    "zstandard cut off": Broken({"a.jsonl.zst": cut(zstandard(_ROWS))}, r"cannot be unpacked behind row \d"),
    "gzip with a wrong sum": Broken({"a.jsonl.gz": gzip.compress(_ROWS)[:-8] + b"\0" * 8}, "behind row 1[45].. .*CRC"),
    "gzip under another name": Broken({"a.jsonl": cut(gzip.compress(_ROWS))}, "a.jsonl: cannot be unpacked behind row"),
    "not gzip": Broken({"a.jsonl.gz": GOOD}, "a.jsonl.gz: is named .gz but is not compressed so; fetch it again"),
    "a web page": Broken({"a.csv.xz": b"<!DOCTYPE html>"}, "a.csv.xz: is named .xz but .*; it looks like a web page"),
    "empty inside": Broken({"a.jsonl.gz": gzip.compress(b"")}, "a.jsonl.gz: has no rows"),
    "a zip archive": Broken({"a.zip": b"PK\x03\x04\x14\0"}, "a.zip: is an archive; unpack it, and name the files"),
    "a zip archive named as data": Broken({"a.jsonl": b"PK\x03\x04\x14\0"}, "a.jsonl: is an archive"),
    "a workbook": Broken({"a.xlsx": b"PK\x03\x04\x14\0"}, "a.xlsx: is a workbook; save its sheet as CSV in UTF-8"),
    "an old workbook": Broken({"a.csv": b"\xd0\xcf\x11\xe0\xa1"}, "a.csv: is a workbook; save its sheet as CSV"),
    "a packed parquet": Broken({"a.parquet.gz": gzip.compress(parquet_file(SUMS))},
                               "a parquet file inside a .gz file; unp"),
}
TABLES = {
    "parquet cut off": Broken({"a.parquet": cut(parquet_file(SUMS))}, "a.parquet: is not a whole parquet file"),
    "parquet damaged": Broken({"a.parquet": parquet_file(SUMS, use_dictionary=False).replace(b"\x15", b"\xff", 2)},
                              r"a\.parquet:row 1: cannot be read .*damaged"),
    "parquet that is csv": Broken({"a.parquet": csv_file(SUMS)},
                                  "a.parquet: is not a parquet file, .* looks like text"),
    "parquet that is a page": Broken({"a.parquet": b"<html>"},
                                     "is not a parquet file, though named so, and looks like a w"),
    "empty parquet": Broken({"a.parquet": b""}, "a.parquet: is not a parquet file, though named so, but empty"),
    "parquet without rows": Broken({"a.parquet": table_file(pa.table({"text": pa.array([], pa.string())}))},
                                   "a.parquet: has no rows"),
    "parquet with null": Broken({"a.parquet": parquet_file([*SUMS, {"prompt": "a", "completion": None}])},
                                r"a\.parquet:row 37: completion must be text, not null"),
    "parquet of numbers": Broken({"a.parquet": parquet_file([{"text": 3}])}, ":row 1: text must be text, not int"),
    "parquet not utf-8": Broken({"a.parquet": parquet_file([{"text": "fine"},
                                {"text": "no"}]).replace(b"no", b"\xff\xfe")},
                                r":row 2: cannot be read .*write text as UTF-8"),
    "parquet with a role": Broken({"a.parquet": parquet_file([{"messages": [{"role": "bot", "content": "A"}]}])},
                                  ":row 1: message 1 has the role 'bot'"),
    "arrow cut off": Broken({"a.arrow": cut(arrow_file(SUMS))}, "a.arrow: is not a whole Arrow file"),
    "an arrow stream cut off": Broken({"a.arrow": cut(arrow_file(SUMS, stream=True))},
                                      r"a\.arrow: is not a whole Arrow file \(it does not end"),
    "an arrow stream with a hole": Broken({"a.arrow": zeroed(arrow_file(SUMS, stream=True))},
                                          r"a\.arrow:row \d+: cannot be read .*; the file is cut off or damaged from"),
    "arrow with a wrong offset": Broken({"a.arrow": arrow_file([{"text": "one"}, {"text": "two"}]).replace(
        b"\0\0\0\0\x03\0\0\0\x06\0\0\0", b"\0\0\0\0\xff\0\0\0\x06\0\0\0")}, r":row 1: cannot be read .*offset"),
    "csv with a hole": Broken({"a.csv": b"prompt,completion\na,b\nc,\0\0\0\0\nd,e\n"}, ":row 3: holds zero bytes"),
    "txt with a hole": Broken({"a.txt": b"a\0\0\0"}, ":row 1: holds zero bytes, so it is no text"),
    "arrow that is json": Broken({"a.arrow": GOOD},
                                 "a.arrow: is not an arrow file, though named so, and looks like JSON"),
    "ragged csv": Broken({"a.csv": b"prompt,completion\na,b\nc,d,e\n"},
                         r":row 3: has 3 cells, and the first line names 2"),
    "short csv": Broken({"a.csv": b'prompt,completion\n"a\nb",c\nd\n'}, ":row 4: has 1 cells"),
    "csv with a column twice": Broken({"a.csv": b"text,text\na,b\n"}, ":row 1: names the column 'text' twice"),
    "csv without a header": Broken({"a.csv": b"1 + 1 =,2\n"}, "a.csv: has no rows"),
    "csv without names": Broken({"a.csv": b"1 + 1 =,2\n1 + 2 =,3\n"},
                                ":row 2: .*; the first line .* names its columns"),
    "csv of its header": Broken({"a.csv": b"prompt,completion\n"}, "a.csv: has no rows"),
    "csv with open quotes": Broken({"a.csv": b'prompt,completion\na,b\n"c,d\ne,f\n'},
                                   r":row 3: not CSV \(unexpected end"),
    "csv with loose quotes": Broken({"a.csv": b'prompt,completion\n"a"b,c\nd,e\n'},
                                    r":row 2: not CSV \(.*double the quotes"),
    "csv with semicolons": Broken({"a.csv": b"prompt;completion\na;b\n"}, ":row 1: .* separated by semicolons"),
    "csv not utf-8": Broken({"a.csv": "prompt,completion\na,b\nü,b\n".encode("latin-1")},
                            ":row 3: .*not UTF-8; convert"),
    "ragged tsv": Broken({"a.tsv": b"prompt\tcompletion\na,b\n"}, ":row 2: has 1 cells"),
    "txt not utf-8": Broken({"a.txt": "Größe".encode("latin-1")}, r"a\.txt:row 1: byte 2 is not UTF-8"),
    "an array of numbers": Broken({"a.json": b"[1, 2]"}, r"a\.json:row 1: a JSON number, not an object"),
    "an array of arrays": Broken({"a.json": b'[["prompt", "completion"]]'}, ":row 1: a JSON array, not an object"),
    "an array cut off": Broken({"a.json": cut(json.dumps(SUMS).encode())},
                               r"a\.json:row 2\d: the JSON array ends in the mid"),
    "an array with a comma more": Broken({"a.json": b'[{"text": "a"},]'}, ":row 2: not JSON"),
    "an array and more": Broken({"a.json": b'[{"text": "a"}] {"text": "b"}'},
                                "has more after the end of its JSON array"),
    "an empty array": Broken({"a.json": b"[ ]"}, "a.json: has no rows"),
    "rows inside an object": Broken({"a.json": b'{"data": [{"text": "a"}]}'}, ":row 1: the columns 'data' are none of"),
}
