"""What is known of a machine from one look to the next, and who says which cloud it is in."""

import pytest

from launcher.core.errors import UserError
from launcher.core.spot_notice import LONGEST_NOTE, MOST_NOTES, Leaving, Said, Told, fold, spot_of


def goes(deadline: float, what: str = "terminate") -> Said:
    return Said(leaving=Leaving(what=what, deadline=deadline))


def after(*said: Said) -> Told:
    told, before = Told(), Said()
    for each in said:
        told, before = fold(told, before, each), each
    return told


def test_a_note_is_new_when_it_was_not_said_at_the_look_before():
    freeze, quiet = Said(notes=("Freeze",)), Said()
    assert after(freeze, freeze, quiet, freeze).notes == ("Freeze", "Freeze")


def test_a_deadline_comes_nearer_and_is_never_put_off():
    assert after(goes(100.0), goes(130.0)).leaving == goes(100.0).leaving
    assert after(goes(100.0), goes(90.0)).leaving == goes(90.0).leaving


def test_another_end_is_another_deadline():
    assert after(goes(100.0, "Reboot"), goes(130.0, "Preempt")).leaving == goes(130.0, "Preempt").leaving


def test_what_is_withdrawn_is_told():
    assert after(goes(100.0), Said()) == Told(looked=True, notes=("terminate was withdrawn",))


def test_a_service_that_never_says_the_same_twice_does_not_fill_the_journal():
    notes = after(*(Said(notes=(str(number) * 1000,)) for number in range(10, 500))).notes
    assert len(notes) == MOST_NOTES and all(len(note) <= LONGEST_NOTE for note in notes)


@pytest.mark.parametrize(("wish", "environment", "cloud"), [
    (None, {}, "none"), (None, {"LAUNCHER_SPOT": ""}, "none"), (None, {"LAUNCHER_SPOT": "gcp"}, "gcp"),
    ("aws", {"LAUNCHER_SPOT": "gcp"}, "aws"), ("none", {"LAUNCHER_SPOT": "gcp"}, "none")])
def test_the_recipe_goes_before_the_environment_and_nobody_is_asked_by_default(wish, environment, cloud):
    assert spot_of(wish, environment) == cloud


def test_a_cloud_that_there_is_not_is_refused_by_name():
    with pytest.raises(UserError, match="LAUNCHER_SPOT=Amazon: expected aws, gcp, azure or none"):
        spot_of(None, {"LAUNCHER_SPOT": "Amazon"})
