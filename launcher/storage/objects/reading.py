"""Reading an object: whole, in ranges side by side, or into a file; and what objects there are.

Decides which ranges go into one request: what touches does, and no byte is read that nobody asked for. A large range is
read in parts. A whole object is of one content, even if it is replaced meanwhile: then it is read again.
"""

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from launcher.storage.objects.link import Link
from launcher.storage.objects.requests import Head
from launcher.storage.objects.trouble import NotSo, PastEnd
from launcher.storage.store import Span

T = TypeVar("T")

STEADY_TRIES = 5
"""Objects are written once or now and then: one that was replaced so often under a reader is no such object."""


@dataclass(frozen=True)
class Range:
    """One read, and which of the asked spans are in it."""

    begin: int
    end: int
    spans: tuple[int, ...] = ()


def ranges_of(spans: Sequence[Span], most: int) -> list[Range]:
    """Return what to read for spans: those that touch or overlap together, as far as that is at most `most` bytes."""
    found: list[Range] = []
    for number in sorted((number for number, span in enumerate(spans) if span[1]), key=lambda number: spans[number]):
        begin, length = spans[number]
        last = found[-1] if found else Range(-1, -1)
        end = max(last.end, begin + length)
        if begin <= last.end and end - last.begin <= most:
            found[-1] = Range(last.begin, end, (*last.spans, number))
        else:
            found.append(Range(begin, begin + length, (number,)))
    return found


def parts_of(begin: int, end: int, size: int) -> Iterator[Range]:
    """Yield a range in parts of at most one size."""
    for start in range(begin, end, size):
        yield Range(start, min(start + size, end))


def get(link: Link, key: str) -> bytes:
    """Return a whole object. Raises KeyError or OSError."""
    def once() -> bytes:
        most = link.settings.part_bytes
        try:
            first, head = link.ask(key, lambda: link.requests.begin(key, most))
        except PastEnd:
            return b""
        link.down.count(len(first))
        link.down.wait(len(first))
        rest = list(parts_of(len(first), head.size, most))
        return b"".join([first, *link.side_by_side(lambda part: _whole(link, key, part, head), rest)])

    return _steady(link, key, once)


def get_ranges(link: Link, key: str, spans: Sequence[Span]) -> list[bytes]:
    """Return the bytes of each span, fewer at the object's end. Raises KeyError or OSError."""
    most = link.settings.part_bytes
    asked = ranges_of(spans, most)
    if spans and not asked:
        link.ask(key, lambda: link.requests.head(key))
    parts = [list(parts_of(each.begin, each.end, most)) for each in asked]
    data = link.side_by_side(lambda part: _as_far(link, key, part), [part for each in parts for part in each])
    found = [b""] * len(spans)
    for each, its_parts in zip(asked, parts, strict=True):
        read = b"".join([next(data) for _ in its_parts])
        for number in each.spans:
            begin, length = spans[number][0] - each.begin, spans[number][1]
            found[number] = read[begin:begin + length]
    return found


def fetch(link: Link, key: str, head: Head, file: int) -> None:
    """Write the object that a head tells of to a file. Raises NotSo if it is another by now, KeyError or OSError."""
    def part(each: Range) -> None:
        os.pwrite(file, _whole(link, key, each, head), each.begin)

    for _ in link.side_by_side(part, parts_of(0, head.size, link.settings.part_bytes)):
        pass


def keys(link: Link, prefix: str) -> list[str]:
    """Return the keys with a prefix, in order, all pages of them. Raises OSError."""
    def page(after: str) -> tuple[list[str], str]:
        return link.ask(prefix, lambda: link.requests.page(prefix, after))

    found, after = page("")
    while after:
        more, after = page(after)
        found += more
    # What consoles call folders are objects whose key ends in a slash.
    return sorted(key for key in found if not key.endswith("/"))


def steady_head(link: Link, key: str, use: Callable[[Head], T]) -> T:
    """Return what is made of what is known of an object, made again if the object is replaced meanwhile."""
    return _steady(link, key, lambda: use(link.ask(key, lambda: link.requests.head(key))))


def _steady(link: Link, key: str, once: Callable[[], T]) -> T:
    for _ in range(STEADY_TRIES):
        try:
            return once()
        except NotSo:
            continue
    raise OSError(errno.EAGAIN, "was replaced again and again while it was read", link.address.url_of(key))


def _as_far(link: Link, key: str, part: Range) -> bytes:
    try:
        return link.read(key, part.begin, part.end)
    except PastEnd:
        return b""


def _whole(link: Link, key: str, part: Range, head: Head) -> bytes:
    try:
        data = link.read(key, part.begin, part.end, head.tag)
    except PastEnd:
        raise NotSo(key) from None  # It was that long a moment ago.
    if len(data) != part.end - part.begin:
        raise OSError(errno.EIO, f"gave {len(data)} bytes of {part.end - part.begin}", link.address.url_of(key))
    return data
