"""Lines of a file, in bounded memory.

Decides what ends a line: newline bytes alone.
"""

from collections.abc import Iterator

from launcher.data.reading.opening import BYTE_ORDER_MARK, OpenFile
from launcher.data.reading.rows import LARGEST_ROW_BYTES


def bounded_lines(file: OpenFile) -> Iterator[tuple[int, bytes]]:
    """Yield lines with their numbers from 1, without a byte order mark.

    A line above the limit is cut off just beyond it, so that whoever takes it can tell, and its rest is passed over:
    no file, whatever it holds, fills the memory.
    """
    number, readline, limit = 0, file.stream.readline, LARGEST_ROW_BYTES + 1
    while data := readline(limit):
        number += 1
        if number == 1:
            data = data.removeprefix(BYTE_ORDER_MARK)
        rest = data
        while len(rest) == limit and not rest.endswith(b"\n"):
            rest = readline(limit)
        file.row = number
        if data:
            yield number, data
