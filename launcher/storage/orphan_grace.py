"""How long workers may go on when whoever held them is gone: to finish their step, save and leave.

Nobody asks for more, and who starts the run again waits for them, so it is short unless the environment says otherwise:
the batch script says more, because a batch system's signal to everything takes all holders at once, and the system
itself ends what is late.
"""

import os
from collections.abc import Mapping
from contextlib import suppress

from launcher.core.errors import UserError
from launcher.core.quantities import parse_seconds

NAME = "LAUNCHER_ORPHAN_GRACE"
USUAL_S = 10.0


def orphan_grace_s(environment: Mapping[str, str]) -> float:
    """Return the time in seconds that the environment gives, as `90s` or `2min`. Raises UserError."""
    text = environment.get(NAME)
    if not text:
        return USUAL_S
    try:
        return float(parse_seconds(text))
    except ValueError as error:
        raise UserError(f"{NAME}={text}: {error}") from None


def _here() -> float:
    # While modules load nobody says it well: who begins asks `orphan_grace_s` itself.
    with suppress(UserError):
        return orphan_grace_s(os.environ)
    return USUAL_S


ORPHAN_GRACE_S = _here()
"""Of this process, and so of all that it starts."""
