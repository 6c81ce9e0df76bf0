"""The documented answers of three clouds, answers at the edge of them, and anything else there is."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.core.spot_answers import (
    SHORTEST_S,
    Unreadable,
    aws_action,
    aws_rebalance,
    azure,
    gcp_maintenance,
    gcp_preempted,
)
from launcher.core.spot_notice import Leaving, Said

NOW = 1_505_722_800.0
"""2017-09-18T08:20:00Z."""
JSON = st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
                    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
                    max_leaves=5)


def action(what: str, when: str | None) -> str:
    return json.dumps({"action": what, "time": when})


def event(kind: str, not_before: str, *resources: str, status: str = "Scheduled") -> dict:
    return {"EventId": "C7061BAC", "EventStatus": status, "EventType": kind, "ResourceType": "VirtualMachine",
            "Resources": list(resources), "NotBefore": not_before, "Description": "", "EventSource": "Platform",
            "DurationInSeconds": -1}


def document(*events: object) -> str:
    return json.dumps({"DocumentIncarnation": 2, "Events": events})


@pytest.mark.parametrize("what", ["terminate", "stop", "hibernate"])
def test_aws_tells_action_and_time(what):
    said = aws_action(action(what, "2017-09-18T08:22:00Z"), NOW)
    assert said == Said(leaving=Leaving(what=what, deadline=NOW + 120))


def test_aws_says_nothing_of_a_machine_that_stays():
    assert aws_action(None, NOW) == Said() and aws_rebalance(None) == ()


def test_advice_is_a_note_whatever_it_says():
    (note,) = aws_rebalance('{"noticeTime": "2020-10-27T08:22:00Z"}')
    assert "rebalance" in note and "2020-10-27T08:22:00Z" in note


def test_time_that_is_up_leaves_a_moment_to_save():
    said = aws_action(action("hibernate", "2017-09-18T08:20:00Z"), NOW)
    assert said.leaving == Leaving(what="hibernate", deadline=NOW + SHORTEST_S)


@pytest.mark.parametrize("when", [None, "soon", "2017-13-18T08:22:00Z", "0000-01-01T00:00:00Z"])
def test_an_action_without_a_time_counts_with_the_notice_that_aws_promises(when):
    assert aws_action(action("terminate", when), NOW).leaving == Leaving(what="terminate", deadline=NOW + 120)


def test_a_machine_that_was_to_go_long_ago_and_did_not_stays():
    said = aws_action(action("terminate", "2017-09-18T08:00:00Z"), NOW)
    assert said.leaving is None and "has not happened" in said.notes[0]


@pytest.mark.parametrize("text", ["", "terminate", "[]", "{}", '{"action": 3}', '{"action": ""}',
                                  pytest.param("[" * 100_000, id="deep")])
def test_what_is_no_action_is_not_taken_for_one(text):
    with pytest.raises(Unreadable):
        aws_action(text, NOW)


def test_google_tells_of_preemption():
    assert gcp_preempted("FALSE", NOW) == gcp_preempted("FALSE\n", NOW) == Said()
    assert gcp_preempted("TRUE", NOW) == Said(leaving=Leaving(what="preempted", deadline=NOW + 30))


@pytest.mark.parametrize(("text", "said"), [
    ("NONE", Said()), ("MIGRATE_ON_HOST_MAINTENANCE\n", Said(notes=("MIGRATE_ON_HOST_MAINTENANCE",))),
    ("TERMINATE_ON_HOST_MAINTENANCE", Said(leaving=Leaving(what="TERMINATE_ON_HOST_MAINTENANCE", deadline=NOW + 60)))])
def test_google_tells_of_maintenance(text, said):
    assert gcp_maintenance(text, NOW) == said


@pytest.mark.parametrize("text", ["", "yes", "true", "<p>FALSE</p>"])
def test_what_google_never_says_is_not_believed(text):
    for read in (gcp_preempted, gcp_maintenance):
        with pytest.raises(Unreadable):
            read(text, NOW)


@pytest.mark.parametrize("kind", ["Preempt", "Terminate", "Reboot", "Redeploy"])
def test_azure_announces_the_end_of_this_machine(kind):
    said = azure(document(event(kind, "Mon, 18 Sep 2017 08:25:00 GMT", "vm_0", "vm_1")), "VM_1", NOW)
    assert said.leaving == Leaving(what=kind, deadline=NOW + 300)


def test_an_event_that_has_begun_leaves_a_moment_to_save():
    said = azure(document(event("Reboot", "", "vm", status="Started")), "vm", NOW)
    assert said.leaving == Leaving(what="Reboot", deadline=NOW + SHORTEST_S)


def test_a_pause_of_seconds_and_the_end_of_a_neighbour_are_no_reason_to_leave():
    text = document(event("Freeze", "Mon, 18 Sep 2017 08:25:00 GMT", "vm"),
                    event("Preempt", "Mon, 18 Sep 2017 08:25:00 GMT", "other"))
    assert azure(text, "vm", NOW) == Said(notes=("Freeze (event C7061BAC)",))


def test_what_is_days_away_is_noted_until_it_is_near():
    text = document(event("Redeploy", "Mon, 25 Sep 2017 08:20:00 GMT", "vm"))
    far, near = azure(text, "vm", NOW), azure(text, "vm", NOW + 7 * 86400 - 300)
    assert far.leaving is None and "25 Sep 2017" in far.notes[0]
    assert near.leaving == Leaving(what="Redeploy", deadline=NOW + 7 * 86400)


def test_the_first_of_several_ends_is_the_deadline():
    text = document(event("Reboot", "Mon, 18 Sep 2017 08:26:00 GMT", "vm"),
                    event("Preempt", "Mon, 18 Sep 2017 08:20:30 GMT", "vm"))
    assert azure(text, "vm", NOW).leaving == Leaving(what="Preempt", deadline=NOW + 30)


def test_an_event_that_nobody_understands_does_not_hide_the_end_of_this_machine():
    text = document({"EventType": 3}, event("Preempt", "Mon, 18 Sep 2017 08:20:30 GMT", "vm"))
    assert azure(text, "vm", NOW).leaving == Leaving(what="Preempt", deadline=NOW + 30)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"Events": {}}', document(3), document({}),
                                  document({"EventType": "Preempt"})])
def test_what_is_no_document_of_events_is_not_believed(text):
    with pytest.raises(Unreadable):
        azure(text, "vm", NOW)


def readable(read) -> Said:
    try:
        return read()
    except Unreadable:
        return Said()


@settings(max_examples=40)
@given(st.text() | JSON.map(json.dumps))
def test_nothing_that_is_answered_can_hurt(text):
    assert all(len(note) < 200 for note in aws_rebalance(text))
    for said in (readable(lambda: aws_action(text, NOW)), readable(lambda: gcp_preempted(text, NOW)),
                 readable(lambda: gcp_maintenance(text, NOW)), readable(lambda: azure(text, "vm", NOW))):
        assert said.leaving is None or said.leaving.deadline >= NOW + SHORTEST_S


@settings(max_examples=40)
@given(JSON, JSON, JSON)
def test_nothing_in_an_action_or_event_can_hurt(kind, when, resources):
    said = readable(lambda: aws_action(json.dumps({"action": kind, "time": when}), NOW))
    assert said.leaving is None or said.leaving.what == kind
    events = document({"EventType": kind, "NotBefore": when, "Resources": resources})
    assert readable(lambda: azure(events, "vm", NOW)).leaving is None or "vm" in str(resources).casefold()
