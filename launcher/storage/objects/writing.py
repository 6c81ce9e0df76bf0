"""Putting an object: whole in one request if it is small, else in parts; nothing of it is seen before all of it is.

Decides whose an object is that appeared while nobody heard an answer: each put has a mark of its own, and the object
keeps it. Where no mark is kept, an object with the same content counts as this put's.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain

from launcher.storage.objects.link import Link
from launcher.storage.objects.requests import Upload
from launcher.storage.objects.trouble import Kind, NotSo, Trouble, refusal
from launcher.storage.store import Content


def put(link: Link, key: str, content: Content, *, new: bool) -> bool:
    """Make an object; with `new` only where there is none. Return whether it was made by this call. Raises OSError."""
    mark = os.urandom(16).hex()
    pieces = pieces_of(content, link.settings.part_bytes)
    first, second = next(pieces, b""), next(pieces, None)
    if second is None:
        return _put_whole(link, key, first, mark, new=new)
    return _put_parts(link, key, chain((first, second), pieces), mark, new=new)


def pieces_of(content: Content, size: int) -> Iterator[bytes]:
    """Yield content in pieces of one size, the last one smaller. S3's sisters want parts of one size."""
    held, length = list[bytes](), 0
    for chunk in (content,) if isinstance(content, bytes) else content:
        view = memoryview(chunk)
        while view:
            held.append(bytes(view[:size - length]))
            view, length = view[size - length:], length + len(held[-1])
            if length == size:
                yield b"".join(held)
                held, length = [], 0
    if held:
        yield b"".join(held)


def _put_whole(link: Link, key: str, data: bytes, mark: str, *, new: bool) -> bool:
    try:
        link.send(key, len(data), lambda: link.requests.write(key, data, mark, new=new))
    except NotSo:
        # A try that nobody heard an answer to may have made it; some libraries even ask again by themselves.
        if not _is_mine(link, key, mark, data):
            return False
    except KeyError:
        # There is nothing to miss but the bucket; not all say so.
        raise refusal(link.address, key, Trouble(Kind.NO_BUCKET, "not found")) from None
    return True


def _put_parts(link: Link, key: str, pieces: Iterator[bytes], mark: str, *, new: bool) -> bool:
    upload = link.ask(key, lambda: link.requests.upload(key, mark, new=new))
    try:
        receipts = _send(link, key, upload, pieces)
        return _complete(link, key, upload, receipts, mark, new=new)
    except BaseException:
        # What cannot be taken away now is taken by `sweep`, or by the bucket's own rule for unfinished uploads.
        with suppress(Exception):
            upload.abort()
        raise


def _send(link: Link, key: str, upload: Upload, pieces: Iterator[bytes]) -> list[str]:
    def part(numbered: tuple[int, bytes]) -> str:
        number, data = numbered
        if number > link.requests.most_parts:
            raise OSError(errno.EFBIG, f"objects of more than {link.requests.most_parts} parts of "
                          f"{link.settings.part_bytes >> 20} MiB are not taken", link.address.url_of(key))
        return link.send(key, len(data), lambda: upload.part(number, data))

    numbered = enumerate(pieces, 1)
    return list(link.side_by_side(part, numbered)) if upload.repeatable else [part(each) for each in numbered]


def _complete(link: Link, key: str, upload: Upload, receipts: list[str], mark: str, *, new: bool) -> bool:
    try:
        link.ask(key, lambda: upload.complete(receipts, new=new))
    except NotSo:
        with suppress(Exception):
            upload.abort()
        return _is_mine(link, key, mark, None)
    except KeyError:
        # The upload is gone. It was completed by a try that nobody heard an answer to, or somebody swept it away.
        if not _is_mine(link, key, mark, None):
            raise OSError(errno.ECANCELED, "the upload was taken away while it was written", link.address.url_of(key)
                          ) from None
    return True


def _is_mine(link: Link, key: str, mark: str, data: bytes | None) -> bool:
    """Return whether an object was put with this mark; where there are no marks, whether it has this content."""
    with suppress(KeyError):
        if link.requests.marks:
            return link.ask(key, lambda: link.requests.mark(key)) == mark
        return data is not None and link.ask(key, lambda: link.requests.begin(key, len(data) + 1))[0] == data
    return False
