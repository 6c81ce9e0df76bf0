"""One request to stop out of many notices. Pure; who gives notice is `orchestration.requests` and `launcher stop`."""

from launcher.core.events import StopRequested


def merged(*notices: StopRequested) -> StopRequested | None:
    """Return one request for all notices: the reason of the first, the earliest deadline of all."""
    if not notices:
        return None
    deadlines = [notice.deadline for notice in notices if notice.deadline is not None]
    return notices[0].model_copy(update={"deadline": min(deadlines, default=None)})
