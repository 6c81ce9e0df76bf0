"""Machines that go: the run leaves them in time, or gives everything back where no others are."""

from launcher.core import attempt_state as s
from tests.core.test_lifecycle import Story

STOPPED = [{"event": "stopped", "step": 4, "reason": "asked"}]
GOING = (("there", 220.0),)
NOTICED = frozenset({"there"})


def drains(story: Story) -> list[s.Drain]:
    return [action for action in story.actions if isinstance(action, s.Drain)]


def test_a_machine_under_notice_is_left_by_its_deadline_and_the_run_goes_on_without():
    story = Story().running().see(leaving=GOING, noticed=NOTICED)
    assert [(each.request.reason, each.request.deadline) for each in drains(story)] == [("spot_notice", 220.0)]
    assert "there will be taken away (spot notice)" in story.decisions()[0]["reason"]
    story.see(STOPPED, STOPPED, codes=(75, 75)).see()
    assert story.actions[-1] == s.BeginAttempt(NOTICED)
    assert "failure" not in story.journal() and "run_ended" not in story.journal()


def test_where_no_machine_is_left_the_run_saves_and_yields():
    story = Story().running().see(leaving=GOING, noticed=NOTICED, nothing_left=True)
    assert len(drains(story)) == 1 and not story.decisions()
    story.see(STOPPED, STOPPED, codes=(75, 75))
    assert isinstance(story.state, s.Yielded) and story.exit_code() == 75
    asked = [event for event in story.told(story.actions) if event["event"] == "stop_requested"]
    assert [(event["reason"], event["deadline"]) for event in asked] == [("spot_notice", 220.0)]


def test_workers_that_are_late_then_are_ended_before_the_machines_are():
    story = Story().running().see(leaving=GOING, noticed=NOTICED, nothing_left=True).see(after=10.0)
    assert isinstance(story.state, s.Draining)
    story.see(after=220.0 - story.now - 3.0)
    assert isinstance(story.state, s.Yielded) and story.exit_code() == 75
    assert any(isinstance(action, s.EndWorkers) for action in story.actions)


def test_ray_that_drains_every_node_is_the_same_in_its_own_word():
    story = Story().running().see(leaving=(("there", None),), nothing_left=True)
    story.see(STOPPED, STOPPED, codes=(75, 75))
    assert story.exit_code() == 75
    assert [event["reason"] for event in story.told(story.actions) if event["event"] == "stop_requested"] == ["drain"]
