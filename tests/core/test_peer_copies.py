"""Who keeps whose copies, and what is fetched and dropped: with few nodes and many, while they come and go."""

import pytest

from launcher.core.peer_copies import Errand, Kept, Mark, before, errand

OLD, NEW = (1, 4), (1, 8)
PLENTY = 1000


def files(mark: Mark, *sizes: int) -> dict[Kept, int]:
    return {Kept(*mark, f"rank-{rank:03d}.bin"): size for rank, size in enumerate(sizes)}


def lost_with(ring: list[str], *gone: str) -> set[str]:
    """Return the nodes whose part is nowhere when some are gone at once."""
    keeper = {neighbour: node for node, neighbour in before(ring).items()}
    return {node for node in gone if keeper.get(node, node) in gone}


def test_one_node_alone_keeps_nobodys() -> None:
    assert before([]) == {} and before(["a"]) == {}
    assert lost_with(["a"], "a") == {"a"}


def test_two_nodes_keep_each_others() -> None:
    assert before(["a", "b"]) == {"a": "b", "b": "a"}


@pytest.mark.parametrize("count", [2, 3, 8, 100])
def test_each_node_keeps_one_others_so_that_any_one_may_be_lost(count: int) -> None:
    ring = [f"n{number}" for number in range(count)]
    kept = before(ring)
    assert set(kept) == set(kept.values()) == set(ring)
    assert all(node != neighbour for node, neighbour in kept.items())
    assert not any(lost_with(ring, node) for node in ring)
    if count > 3:
        assert not lost_with(ring, ring[0], ring[2]), "two that are no neighbours may be lost together"
        assert lost_with(ring, ring[0], ring[1]) == {ring[0]}


def test_a_lost_node_concerns_its_neighbours_alone_and_so_does_one_that_comes() -> None:
    before_it, without = before(["a", "b", "c", "d"]), before(["a", "b", "d"])
    assert {node for node in without if without[node] != before_it[node]} == {"d"}
    replaced = before(["a", "b", "d", "e"])
    assert {node for node in replaced if replaced[node] != without.get(node)} == {"a", "e"}


def test_what_is_older_stays_until_the_newer_is_here() -> None:
    held, there = files(OLD, 100, 100), files(OLD, 100, 100) | files(NEW, 100, 100)
    assert errand(held, there, NEW, PLENTY) == Errand(tuple(files(NEW, 1, 1)), then=frozenset({OLD}))


def test_a_file_that_is_here_is_not_fetched_again_and_what_a_lost_node_wrote_stays() -> None:
    lost = {Kept(1, 8, "rank-007.bin"): 100}
    held, there = files(NEW, 100) | lost, files(NEW, 100, 100)
    what = errand(held, there, NEW, PLENTY)
    assert what == Errand((Kept(1, 8, "rank-001.bin"),)), "and rank 7's is of the newest: it is dropped with that"


def test_a_new_neighbour_has_nothing_of_what_was_saved_before_it_came() -> None:
    assert errand(files(NEW, 100), {}, NEW, PLENTY) == Errand(())


def test_a_save_that_is_not_committed_is_not_fetched() -> None:
    assert errand({}, files(NEW, 100), OLD, PLENTY) == Errand(())


def test_after_going_back_the_newer_attempts_smaller_step_counts() -> None:
    again = (2, 6)
    assert errand(files(NEW, 10), files(NEW, 10) | files(again, 10), again, PLENTY) == Errand(
        tuple(files(again, 1)), then=frozenset({NEW}))


@pytest.mark.parametrize(("free", "what"), [
    (200, Errand(tuple(files(NEW, 1)), then=frozenset({OLD}))),
    (199, Errand(tuple(files(NEW, 1)), first=frozenset({OLD}))),
    (100, Errand(tuple(files(NEW, 1)), first=frozenset({OLD}))),
    (99, Errand((), first=frozenset({OLD}), too_large=True)),
])
def test_at_most_half_of_the_free_memory_is_taken(free: int, what: Errand) -> None:
    assert errand(files(OLD, 100), files(NEW, 100), NEW, free) == what
