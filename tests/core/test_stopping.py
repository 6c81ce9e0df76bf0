"""Many notices, one request."""

from launcher.core.events import StopRequested
from launcher.core.stopping import merged


def notice(reason: str, deadline: float | None) -> StopRequested:
    return StopRequested(reason=reason, deadline=deadline)


def test_the_first_reason_and_the_earliest_deadline_stand():
    told = [notice("drain", 90.0), notice("signal", None), notice("time_limit", 40.0), notice("stop_command", 60.0)]
    assert merged(*told) == notice("drain", 40.0)
    assert merged(*reversed(told)) == notice("stop_command", 40.0)


def test_no_notice_is_no_request_and_one_without_deadline_has_none():
    assert merged() is None
    assert merged(notice("signal", None)) == notice("signal", None)
