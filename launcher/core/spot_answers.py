"""Reading what the metadata services of AWS, Google Cloud and Azure answer. Pure.

Decides what means that the machine goes, and by when, and what is only worth a note: advice, a machine that pauses for
seconds, an event that is days away. What is not as documented is `Unreadable`, and so never taken for a notice.

AWS: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html and
.../rebalance-recommendations.html. Google Cloud: https://cloud.google.com/compute/docs/instances/create-use-spot and
https://cloud.google.com/compute/docs/metadata/getting-live-migration-notice. Azure:
https://learn.microsoft.com/azure/virtual-machines/linux/scheduled-events.
"""

import json
import re
from calendar import timegm
from collections.abc import Sequence
from typing import Any, cast

from launcher.core.spot_notice import Leaving, NotTold, Said

SHORTEST_S = 10.0
"""What workers get to save in where the time is up already: the machine is still there, and may be for a moment."""
STALE_S = 600.0
"""AWS leaves a notice where it is when it failed to take the machine: one so old means nothing any more."""
HORIZON_S = 600.0
"""What is further away is noted and not acted upon: Azure tells of failing hardware days before."""
AWS_NOTICE_S, GCP_PREEMPTION_S, GCP_MAINTENANCE_S = 120.0, 30.0, 60.0
"""What the clouds promise at least where their answer has no time. (With GPUs, Google's maintenance gives an hour.)"""
AZURE_ENDS = frozenset({"Preempt", "Terminate", "Reboot", "Redeploy"})
"""After these events nothing of the run is left on the machine. `Freeze` pauses it for seconds."""
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_HTTP = re.compile(rf"[A-Z][a-z]{{2}}, (\d\d?) ({'|'.join(_MONTHS)}) (\d{{4}}) (\d\d):(\d\d):(\d\d) GMT")
_ISO = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.\d+)?Z")


class Unreadable(NotTold):
    """An answer that is not as documented."""


def aws_action(text: str | None, now: float) -> Said:
    """Return what the item `spot/instance-action` says; None: there is none."""
    if text is None:
        return Said()
    said = _object(text)
    what, told = said.get("action"), said.get("time")
    if not isinstance(what, str) or not what:
        raise Unreadable(f"spot/instance-action has no action: {_short(text)}")
    deadline = _iso_seconds(told)
    if deadline is None:
        deadline = now + AWS_NOTICE_S
    if deadline < now - STALE_S:
        return Said(notes=(f"{what} was announced for {told} and has not happened",))
    return Said(leaving=Leaving(what=what, deadline=max(deadline, now + SHORTEST_S)))


def aws_rebalance(text: str | None) -> tuple[str, ...]:
    """Return the note that the item `events/recommendations/rebalance` is worth; None: there is none."""
    return () if text is None else (f"rebalance recommendation {_short(text)}",)


def gcp_preempted(text: str, now: float) -> Said:
    """Return what the value `instance/preempted` says."""
    if text.strip() not in ("TRUE", "FALSE"):
        raise Unreadable(f"instance/preempted is neither TRUE nor FALSE: {_short(text)}")
    taken = text.strip() == "TRUE"
    return Said(leaving=Leaving(what="preempted", deadline=now + GCP_PREEMPTION_S) if taken else None)


def gcp_maintenance(text: str, now: float) -> Said:
    """Return what the value `instance/maintenance-event` says."""
    event = text.strip()
    if not re.fullmatch(r"[A-Z_]{1,80}", event):
        raise Unreadable(f"instance/maintenance-event is no event: {_short(text)}")
    if event == "TERMINATE_ON_HOST_MAINTENANCE":
        return Said(leaving=Leaving(what=event, deadline=now + GCP_MAINTENANCE_S))
    return Said(notes=() if event == "NONE" else (event,))


def azure(text: str, machine: str, now: float) -> Said:
    """Return what the document of scheduled events says of the machine with this name. It tells of its neighbours too.
    """
    found = _object(text).get("Events")
    if not isinstance(found, list):
        raise Unreadable(f"scheduledevents has no Events: {_short(text)}")
    events = [event for each in cast(list[Any], found) if (event := _event(each)) is not None]
    # Names of Azure's machines are the same in capitals.
    said = [_scheduled(event, now) for event in events
            if machine.casefold() in {str(name).casefold() for name in event["Resources"]}]
    leaving = sorted((each.leaving for each in said if each.leaving), key=lambda each: each.deadline)
    if not leaving and len(events) < len(cast(list[Any], found)):
        raise Unreadable("scheduledevents has an event without EventType or Resources")
    return Said(leaving=leaving[0] if leaving else None, notes=tuple(note for each in said for note in each.notes))


def _event(found: Any) -> dict[str, Any] | None:
    """Return an event, or None for what is none."""
    event: dict[str, Any] = cast(dict[str, Any], found) if isinstance(found, dict) else {}
    return event if isinstance(event.get("EventType"), str) and isinstance(event.get("Resources"), list) else None


def _scheduled(event: dict[str, Any], now: float) -> Said:
    what = str(event["EventType"])
    begins = _http_seconds(event.get("NotBefore"))
    if what not in AZURE_ENDS:
        return Said(notes=(f"{what} (event {event.get('EventId', '')})",))
    if begins is None:  # It has begun.
        begins = now
    if begins > now + HORIZON_S:
        return Said(notes=(f"{what} not before {event['NotBefore']} (event {event.get('EventId', '')})",))
    return Said(leaving=Leaving(what=what, deadline=max(begins, now + SHORTEST_S)))


def _object(text: str) -> dict[str, Any]:
    try:
        found: Any = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Unreadable(f"no JSON object: {_short(text)}")
    return cast(dict[str, Any], found)


def _iso_seconds(text: Any) -> float | None:
    """Return UTC seconds of 2017-09-18T08:22:00Z, or None for anything else."""
    found = _ISO.fullmatch(text) if isinstance(text, str) else None
    return None if found is None else _seconds(found.groups())


def _http_seconds(text: Any) -> float | None:
    """Return UTC seconds of Mon, 19 Sep 2016 18:29:47 GMT, or None for anything else."""
    found = _HTTP.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        return None
    day, month, year, *clock = found.groups()
    return _seconds((year, str(_MONTHS.index(month) + 1), day, *clock))


def _seconds(parts: Sequence[str]) -> float | None:
    """Return UTC seconds of year, month, day, hour, minute, second; None where there is no such year or month."""
    try:
        return float(timegm(tuple(int(part) for part in parts)))
    except ValueError:
        return None


def _short(text: str) -> str:
    return repr(text[:80])[:100]
