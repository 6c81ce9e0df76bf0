"""When a machine's service is asked again, what of its silence is told, and what becomes of what it said."""

from launcher.core.events import SpotNoticed
from launcher.core.spot_answers import Unreadable
from launcher.core.spot_notice import Leaving, NotTold, Said, Told
from launcher.orchestration.spot_notices import STAYS_S, SpotNotices
from launcher.orchestration.spot_probe import LONGEST_S, SpotProbe, begin

GOES = Leaving(what="terminate", deadline=220.0)


class Service:
    """Says one thing after the other, the last one for ever."""

    every_s, settles_s = 5.0, 10.0

    def __init__(self, *said: Said | Exception) -> None:
        self.said = list(said)

    def ask(self, now: float) -> Said:
        said = self.said.pop(0) if len(self.said) > 1 else self.said[0]
        if isinstance(said, Exception):
            raise said
        return said


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def probe(*said: Said | Exception) -> tuple[SpotProbe, Clock]:
    clock = Clock()
    return SpotProbe(Service(*said), "aws", clock=clock), clock


def test_what_is_said_is_known_and_a_service_that_answers_is_asked_at_its_own_pace():
    watch, _ = probe(Said(), Said(leaving=GOES))
    assert not watch.told.looked
    assert watch.look() == 5.0 and watch.told == Told(looked=True)
    assert watch.look() == 5.0 and watch.told.leaving == GOES


def test_a_service_that_fails_is_asked_less_often_and_told_once_after_a_while():
    watch, clock = probe(NotTold("no answer"))
    waits = []
    for _ in range(6):
        waits.append(watch.look())
        clock.now += 6.0
    assert waits == [5.0, 10.0, LONGEST_S, LONGEST_S, LONGEST_S, LONGEST_S]
    (note,) = watch.told.notes
    assert "aws" in note and "no answer" in note


def test_one_that_fails_for_a_moment_is_not_worth_a_word():
    watch, clock = probe(NotTold("HTTP 503"), Unreadable("half an answer"), Said())
    for _ in range(4):
        watch.look()
        clock.now += 4.0
    assert watch.told == Told(looked=True)


def test_silence_does_not_take_a_notice_back():
    watch, clock = probe(Said(leaving=GOES), NotTold("no answer"))
    watch.look()
    clock.now += 60.0
    watch.look()
    assert watch.told.leaving == GOES


def test_nobody_is_asked_unless_somebody_said_so():
    assert begin(None, {}) is None
    assert begin("none", {"LAUNCHER_SPOT": "aws"}) is None


def test_a_cloud_that_there_is_not_becomes_a_note():
    mistaken = begin(None, {"LAUNCHER_SPOT": "asw"})
    assert mistaken is not None and "LAUNCHER_SPOT=asw" in mistaken.told.notes[0]


def heard(*told: Told | None) -> tuple[SpotNotices, Clock]:
    clock = Clock()
    notices = SpotNotices(clock)
    for each in told:
        notices.hear("id1", "node-1", each)
    return notices, clock


def test_a_machine_that_goes_is_told_once_and_left_out_until_it_must_be_gone():
    notices, clock = heard(Told(looked=True, leaving=GOES), Told(looked=True, leaving=GOES))
    assert notices.leaving() == {"id1": 220.0}
    assert notices.unsaid() == [SpotNoticed(node="node-1", notice="terminate", deadline=220.0)]
    assert notices.unsaid() == []
    clock.now = 220.0 + STAYS_S
    assert notices.leaving() == {}, "it is still there, so it stays"


def test_another_agent_that_has_not_looked_yet_takes_nothing_back_and_one_that_has_does():
    notices, _ = heard(Told(looked=True, leaving=GOES), Told(), None)
    assert notices.leaving()
    notices.hear("id1", "node-1", Told(looked=True, notes=("terminate was withdrawn",)))
    assert not notices.leaving()
    assert [event.notice for event in notices.unsaid()] == ["terminate", "terminate was withdrawn"]
