"""Blocks of ports: each job's own, all of them named, others' left alone."""

import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from launcher.core.errors import PlatformError
from launcher.platforms.ports import (
    FIRST,
    LAST,
    SIZE,
    blocks,
    free_block,
    head_block,
    hold_block,
    nobody_listens,
    options,
)

EPHEMERAL = 32768
"""From here on Linux gives ports to whoever asks for none."""


def test_every_job_gets_to_every_block_and_begins_with_another_one():
    seen = [list(blocks(job, 0)) for job in (100, 101)]
    assert seen[0][0] != seen[1][0] and {each[0] for each in seen[0]} == {each[0] for each in seen[1]}
    assert all(block[0] >= FIRST and block[-1] < LAST < EPHEMERAL for block in seen[0])


def test_nodes_that_are_one_host_do_not_meet():
    first = [next(blocks(7, node)) for node in range(4)]
    assert len({port for block in first for port in block}) == 4 * SIZE


def test_a_block_with_one_busy_port_is_passed_over():
    usual = next(blocks(9, 0))
    assert free_block(9, 0, lambda port: port != usual[100]) == list(blocks(9, 0))[1]


def test_jobs_that_take_a_block_at_the_same_moment_take_different_ones():
    """As when the first blocks of both are busy: neither's Ray listens yet when the other looks."""
    with ThreadPoolExecutor(4) as pool:
        held = list(pool.map(lambda _: hold_block(9, 0), range(4)))
    assert len({block.ports for block in held}) == 4
    taken = held[0].ports
    for block in held:
        block.guard.close()
    assert nobody_listens(taken[-1])


def test_where_no_block_is_free_the_person_learns_who_to_ask():
    with pytest.raises(PlatformError, match="ss -ltnp"):
        free_block(9, 0, lambda _port: False)


@pytest.mark.parametrize("head", [True, False])
def test_every_port_that_ray_could_choose_is_named_once_and_in_the_block(head):
    block = head_block(20_240)
    named = {name: int(port) for name, port in (option.removeprefix("--").split("=") for option in
                                                 options(block, head=head))}
    assert set(named.values()) <= set(block) and len(set(named.values())) == len(named)
    workers = range(named.pop("min-worker-port"), named.pop("max-worker-port") + 1)
    assert block[-1] not in workers, "who holds it has the block"
    assert len(workers) > 200 and not set(workers) & set(named.values())
    assert ("port" in named) == head and (not head or named["port"] == block[0])


def test_a_port_that_somebody_has_is_not_free():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert not nobody_listens(port)
    assert nobody_listens(port)
