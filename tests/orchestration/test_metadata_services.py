"""The three clouds' services asked as they are documented, well and unwell; the stand-in refuses what they would."""

import time

import pytest

from launcher.core.spot_answers import Unreadable
from launcher.core.spot_notice import Said
from launcher.orchestration.metadata_services import URL, Aws, Azure, Gcp, Unanswered, service_of
from tests.orchestration.a_metadata_service import AMetadataService

NOW = 1_505_722_800.0
"""2017-09-18T08:20:00Z."""
CLOUDS = ("aws", "gcp", "azure")


@pytest.fixture(scope="module")
def clouds():
    with AMetadataService() as stand_in:
        yield stand_in


@pytest.fixture
def machine(clouds, request):
    return clouds.machine(request.node.name.replace("[", "-").strip("]"))


def asked(cloud: str, clouds, machine, now: float = NOW) -> Said:
    return service_of(cloud, {URL: clouds.url(machine.name)}).ask(now)


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_machine_that_stays_has_nothing_said_of_it(clouds, machine, cloud):
    assert asked(cloud, clouds, machine) == Said()


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_machine_that_goes_is_told_with_its_deadline(clouds, machine, cloud):
    machine.action = {"action": "terminate", "time": "2017-09-18T08:22:00Z"}
    machine.preempted = "TRUE"
    machine.announce("Preempt", 0, NotBefore="Mon, 18 Sep 2017 08:20:30 GMT")
    leaving = asked(cloud, clouds, machine).leaving
    expected = {"aws": ("terminate", NOW + 120), "gcp": ("preempted", NOW + 30), "azure": ("Preempt", NOW + 30)}
    assert leaving is not None and (leaving.what, leaving.deadline) == expected[cloud]


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_service_that_answers_with_something_else_is_not_believed(clouds, machine, cloud):
    machine.broken = "malformed"
    with pytest.raises(Unreadable):
        asked(cloud, clouds, machine)


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_service_that_fails_has_not_answered(clouds, machine, cloud):
    machine.broken = "500"
    with pytest.raises(Unanswered, match="HTTP 500"):
        asked(cloud, clouds, machine)


@pytest.mark.parametrize("service", [Aws, Gcp, Azure])
def test_a_service_that_hangs_is_not_waited_for(clouds, machine, service):
    machine.broken = "hang"
    begin = time.monotonic()
    with pytest.raises(Unanswered, match="timed out"):
        service(clouds.url(machine.name), timeout_s=0.1).ask(NOW)
    assert time.monotonic() - begin < 5.0


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_service_that_is_not_there_has_not_answered(cloud):
    with pytest.raises(Unanswered):
        service_of(cloud, {URL: "http://127.0.0.1:9"}).ask(NOW)


@pytest.mark.parametrize("cloud", CLOUDS)
def test_no_proxy_is_asked_what_only_the_machine_itself_knows(clouds, machine, cloud, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert asked(cloud, clouds, machine) == Said()


def test_a_refused_token_is_told_with_what_it_may_be_and_nothing_is_asked_without_one(clouds, machine):
    machine.broken = "refused"
    with pytest.raises(Unanswered, match=r"no token: HTTP 403 .*hop limit"):
        asked("aws", clouds, machine)
    assert machine.asked == ["PUT latest/api/token"]


def test_one_token_serves_until_it_runs_out_and_then_another_is_taken(clouds, machine):
    service = Aws(clouds.url(machine.name))
    service.ask(NOW)
    service.ask(NOW)
    assert machine.asked.count("PUT latest/api/token") == 1
    machine.tokens.clear()
    assert service.ask(NOW) == Said()
    assert machine.asked.count("PUT latest/api/token") == 2


def test_advice_to_move_to_another_machine_is_only_noted(clouds, machine):
    machine.rebalance = {"noticeTime": "2017-09-18T08:19:00Z"}
    said = asked("aws", clouds, machine)
    assert said.leaving is None and "2017-09-18T08:19:00Z" in said.notes[0]


def test_google_is_waited_with_until_something_changes(clouds, machine):
    service = Gcp(clouds.url(machine.name))
    assert service.ask(NOW) == Said()
    machine.preempted = "TRUE"
    begin = time.monotonic()
    assert service.ask(NOW).leaving is not None
    assert time.monotonic() - begin < 4.0, "the service answers when the value changes"
    assert all(line.startswith("GET computeMetadata/v1/instance/") for line in machine.asked)


def test_azures_events_of_neighbours_are_theirs(clouds, machine):
    machine.announce("Preempt", 30, Resources=["a-neighbour"])
    assert asked("azure", clouds, machine, time.time()) == Said()
    machine.announce("Preempt", 30, Resources=["a-neighbour", machine.name.upper()])
    assert asked("azure", clouds, machine, time.time()).leaving is not None


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_redirection_is_not_followed(clouds, machine, cloud):
    machine.broken = "redirects"
    with pytest.raises(Unanswered, match="HTTP 302"):
        asked(cloud, clouds, machine)
    assert not clouds.machine("elsewhere").asked
