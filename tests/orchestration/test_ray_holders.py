"""The ring of holders as nodes are lost, replaced and left. Actors are stood in for; importing Ray takes a second."""

import pytest

from launcher.core.peer_copies import Peer
from launcher.orchestration.copy_holder import Duty

pytestmark = pytest.mark.slow


class Stand:
    """A holder's remote side."""

    def __init__(self, key: str, run_dir: str) -> None:
        self.key, self.up, self.closed = key, True, False
        self.peer: Peer | None = None
        self.duty = Duty()

    def answer(self) -> None:
        self.peer = Peer(address=self.key, port=1, token="x")

    def lives(self) -> bool:
        return self.up

    def tell(self, duty: Duty) -> None:
        if self.peer is not None:
            self.duty = duty

    def close(self) -> None:
        self.closed = True


class Ring:
    """All holders that there ever were, by node, and what the controller does with them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from launcher.orchestration import ray_holders

        self.made: dict[str, list[Stand]] = {}

        def make(key: str, run_dir: str) -> Stand:
            self.made.setdefault(key, []).append(Stand(key, run_dir))
            return self.made[key][-1]

        monkeypatch.setattr(ray_holders, "RemoteHolder", make)
        self.holders = ray_holders.Holders()

    def look(self, *ring: str) -> dict[str, str]:
        """Look twice at an attempt on these nodes, all of which answer between; return who keeps whose."""
        self.holders.hold("s3://x", ring)
        for stands in self.made.values():
            stands[-1].answer()
        self.holders.hold("s3://x", ring)
        duties = {key: self.made[key][-1].duty for key in ring if key in self.made}
        return {key: duty.before.address for key, duty in duties.items() if duty.before is not None}

    def open(self) -> set[str]:
        return {key for key, stands in self.made.items() if not stands[-1].closed}


@pytest.fixture
def ring(monkeypatch: pytest.MonkeyPatch) -> Ring:
    return Ring(monkeypatch)


def test_each_node_keeps_what_the_one_before_it_wrote_of_what_was_saved_last(ring: Ring) -> None:
    assert ring.look("a", "b", "c") == {"a": "c", "b": "a", "c": "b"}
    ring.holders.saved((1, 8))
    assert {stands[-1].duty.saved for stands in ring.made.values()} == {(1, 8)}


def test_a_node_alone_has_no_holder(ring: Ring) -> None:
    assert ring.look("a") == {} and not ring.made


def test_a_run_that_begins_again_keeps_what_was_saved_before(ring: Ring) -> None:
    ring.holders.saved((1, 8))
    ring.look("a", "b")
    assert ring.made["a"][-1].duty.saved == (1, 8)


def test_a_node_that_is_left_keeps_its_holder_until_something_newer_is_saved(ring: Ring) -> None:
    ring.look("a", "b", "c")
    assert ring.look("a", "c", "d") == {"a": "d", "c": "a", "d": "c"}
    assert ring.open() == {"a", "b", "c", "d"}, "b's disk may have what somebody needs"
    ring.holders.saved((2, 8))
    assert ring.open() == {"a", "c", "d"}


def test_a_run_that_shrinks_to_one_node_gives_memory_back_once_that_has_saved(ring: Ring) -> None:
    ring.look("a", "b")
    ring.look("a")
    assert "a" in ring.open(), "in its memory is what b wrote"
    ring.holders.saved((2, 8))
    assert ring.open() == set()


def test_a_holder_that_is_gone_is_replaced_and_its_neighbour_told(ring: Ring) -> None:
    ring.look("a", "b")
    ring.made["a"][0].up = False
    assert ring.look("a", "b") == {"a": "b", "b": "a"}
    assert len(ring.made["a"]) == 2 and ring.made["a"][0].closed
