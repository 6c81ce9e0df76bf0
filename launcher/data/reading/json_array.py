"""The elements of one JSON array, in bounded memory.

Decides where an element ends, by brackets and strings alone; what it means is for whoever parses it.
"""

import re
from collections.abc import Iterator

from launcher.core.errors import DataInvalid
from launcher.data.reading.opening import BUFFER_BYTES, BYTE_ORDER_MARK, OpenFile
from launcher.data.reading.rows import LARGEST_ROW_BYTES, TOO_LARGE, place_of

# A whole string, a quote that opens one which the bytes at hand do not end, or a bracket or comma outside strings.
TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|["\[\]{},]', re.DOTALL)
DEPTH = {b"[": 1, b"{": 1, b"]": -1, b"}": -1}


def elements(file: OpenFile) -> Iterator[tuple[int, bytes]]:
    """Yield the elements with their numbers from 1. Raises DataInvalid if the array does not end, or not at the end."""
    data = file.stream.read(BUFFER_BYTES).removeprefix(BYTE_ORDER_MARK).lstrip()
    start = at = 1
    depth = 0
    while depth >= 0:
        token = TOKEN.search(data, at)
        if token is None or token[0] == b'"':
            at = (len(data) if token is None else token.start()) - start
            data, start = _more(file, data[start:]), 0
            continue
        at = token.end()
        depth += DEPTH.get(token[0], 0)
        if depth < 0 or (depth == 0 and token[0] == b","):
            element = data[start:token.start()].strip()
            if element or depth == 0 or file.row:
                file.row += 1
                # What is empty is still something, so that its row is told.
                yield file.row, element or b" "
            start = at
    if data[at:].strip() or file.stream.read(BUFFER_BYTES).strip():
        raise DataInvalid(f"{file.path}: has more after the end of its JSON array, which is behind row {file.row}; "
                          "write one array, or one object on each line")


def _more(file: OpenFile, begun: bytes) -> bytes:
    """Return what is begun and what follows it, in growing pieces, lest a long string cost the square of its length."""
    if len(begun) > LARGEST_ROW_BYTES:
        raise DataInvalid(f"{place_of(file.path, file.row + 1)}: {TOO_LARGE}")
    more = file.stream.read(max(BUFFER_BYTES, len(begun)))
    if not more:
        raise DataInvalid(f"{place_of(file.path, file.row + 1)}: the JSON array ends in the middle; the file is cut "
                          "off or damaged")
    return begun + more
