"""How fast a process may upload files of checkpoints, where something else needs the network too.

Only those files are held up: a lease, a manifest or a stop that waited behind them would cost the run more than it
saves. The rate is of each worker, and of a site rather than of a run, so it stands in the environment of the nodes.
"""

import os
from collections.abc import Iterable, Iterator, Mapping

from launcher.core.errors import UserError
from launcher.core.quantities import parse_bytes
from launcher.storage.objects.flow import Flow

NAME = "LAUNCHER_UPLOAD_RATE"


def upload_rate(environment: Mapping[str, str] = os.environ) -> int | None:
    """Return the bytes a second that the environment gives, as `50MB` or `20MiB`; None for any. Raises UserError."""
    text = environment.get(NAME)
    if not text:
        return None
    try:
        rate = parse_bytes(text.strip().removesuffix("/s"))
    except ValueError as error:
        raise UserError(f"{NAME}={text}: {error}") from None
    if not rate:
        raise UserError(f"{NAME}={text}: nothing would ever be saved; write it like 50MB, for bytes a second")
    return rate


def paced(chunks: Iterable[bytes], flow: Flow) -> Iterator[bytes]:
    """Yield chunks, none sooner than those before it have had their time."""
    for chunk in chunks:
        flow.wait(len(chunk))
        yield chunk
