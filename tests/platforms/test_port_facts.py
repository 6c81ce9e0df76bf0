"""Doors that machines of a job open for each other, and who tries whose."""

from launcher.platforms.port_facts import Door, Listeners, to_try, ways
from launcher.platforms.ports import free_block, nobody_listens


def doors(count: int) -> list[Door]:
    return [Door(name=f"n{number}", address="127.0.0.1", block=(1, 2), any=3) for number in range(count)]


def test_a_door_is_open_until_it_is_closed() -> None:
    listeners = Listeners()
    open_door = listeners.door("far", "127.0.0.1", free_block(1, 0, nobody_listens))
    try:
        found = ways("near", [open_door])
    finally:
        listeners.close()
    assert [(way.to, way.kind, way.problem) for way in found] == [("far", "block", ""), ("far", "block", ""),
                                                                   ("far", "any", "")]
    assert {way.problem for way in ways("near", [open_door])} == {"Connection refused"}


def test_few_machines_try_all_others_and_many_the_first_and_their_neighbours() -> None:
    assert [door.name for door in to_try("n1", doors(3))] == ["n0", "n2"]
    assert [door.name for door in to_try("n7", doors(64))] == ["n0", "n6", "n8"]
    assert [door.name for door in to_try("n0", doors(64))] == ["n1", "n63"]
