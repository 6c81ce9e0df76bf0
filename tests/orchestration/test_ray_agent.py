"""The controller's side of an agent: long waits end with a stop. Ray is a fake here; importing it takes a second."""

import threading
from types import SimpleNamespace

import pytest

pytestmark = pytest.mark.slow


class NeverPlaced:
    """An actor for which there is no room."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> SimpleNamespace:
        return SimpleNamespace(remote=lambda *_: self.asked.append(name) or name)


@pytest.fixture
def actor(monkeypatch):
    from launcher.orchestration import ray_agent

    actor = NeverPlaced()
    made = SimpleNamespace(options=lambda **_: SimpleNamespace(remote=lambda _spot: actor))
    fake = SimpleNamespace(remote=lambda _class: made, wait=lambda _answers, timeout: ([], []),
                           kill=lambda killed: killed.asked.append("-"))
    monkeypatch.setattr(ray_agent, "ray", fake)
    monkeypatch.setattr(ray_agent, "NodeAffinitySchedulingStrategy", lambda *_, **__: None)
    return actor


def test_whoever_waits_for_a_node_hears_a_stop_and_asks_nothing_of_what_was_never_placed(actor):
    from launcher.core.events import StopRequested
    from launcher.orchestration.placement import PlacementStopped, heed
    from launcher.orchestration.ray_agent import RemoteAgent

    looks: list[None] = []
    asked = SimpleNamespace(stop=None)

    def look() -> None:
        looks.append(None)
        asked.stop = StopRequested(reason="signal", deadline=None) if len(looks) == 3 else None
        heed(asked)

    agent = RemoteAgent("node", {"CPU": 1.0}, heed=look)
    with pytest.raises(PlacementStopped):
        agent.ready(120.0)
    assert len(looks) == 3
    agent.close()
    assert actor.asked == ["process", "-"], "it waits for its node no more, and was not asked to close"


def test_an_agent_that_does_not_answer_any_more_is_not_asked_to_close(actor, monkeypatch):
    from ray.exceptions import GetTimeoutError

    from launcher.orchestration import ray_agent
    from launcher.orchestration.gang import AgentLost

    agent = ray_agent.RemoteAgent("node", {"CPU": 1.0})
    monkeypatch.setattr(ray_agent.ray, "get", lambda *_, **__: {"pid": 1, "started": 1.0}, raising=False)
    agent.ready(1.0)

    def silence(*_: object, **__: object) -> None:
        raise GetTimeoutError

    monkeypatch.setattr(ray_agent.ray, "get", silence)
    with pytest.raises(AgentLost):
        agent.poll()
    agent.close()
    assert actor.asked == ["process", "poll", "-"], "it would have waited half a minute more"


def test_what_a_cloud_says_of_a_node_is_asked_once_and_waited_for_by_nobody(actor, monkeypatch):
    from launcher.core.spot_notice import Leaving, Told
    from launcher.orchestration import ray_agent

    monkeypatch.setattr(ray_agent.ray, "wait", lambda asked, timeout, num_returns=1: ([], asked))
    agent = ray_agent.RemoteAgent("node", {"CPU": 1.0})
    for _ in range(2):
        ray_agent.ask_all([agent])
        assert agent.told() == Told() and actor.asked == ["told"], "it has no place yet; one question is under way"
    told = Told(looked=True, leaving=Leaving(what="terminate", deadline=9.0))
    monkeypatch.setattr(ray_agent.ray, "wait", lambda asked, timeout, num_returns=1: (asked, []))
    monkeypatch.setattr(ray_agent.ray, "get", lambda _answer: told.model_dump(), raising=False)
    assert agent.told() == told
    monkeypatch.setattr(ray_agent.ray, "get", lambda _answer: None, raising=False)
    for _ in range(2):
        ray_agent.ask_all([agent])
        assert agent.told() is None and actor.asked == ["told", "told"], "where nobody watches, nobody is asked again"


def test_an_agent_whose_raylet_is_gone_never_tells_of_workers_whose_last_words_it_has_removed(monkeypatch):
    from launcher.orchestration import ray_agent

    ending = threading.Event()
    monkeypatch.setattr(ray_agent.os, "_exit", lambda _code: ending.set())
    monkeypatch.setattr(ray_agent.signal, "signal", lambda *_: None)
    agent = ray_agent.RayNodeAgent()
    said = [SimpleNamespace(model_dump=lambda: {"exit_code": 75, "events": ["stopped"]})]
    agent._agent = SimpleNamespace(processes=list, deliver=lambda *_: None, poll=lambda: said, close=said.clear)
    assert agent.poll() == [{"exit_code": 75, "events": ["stopped"]}]
    agent._told.set()
    assert ending.wait(10) and not said
    asked = threading.Thread(target=agent.poll, daemon=True)
    asked.start()
    asked.join(0.5)
    assert asked.is_alive(), "it was answered after the mailboxes were removed"
