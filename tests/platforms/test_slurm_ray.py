"""How Ray is started on the nodes of a job: for this job alone, from what the job has."""

import socket

from launcher.platforms.addresses import head_address, silent, towards
from launcher.platforms.ports import head_block
from launcher.platforms.slurm_environment import Share
from launcher.platforms.slurm_ray import (
    LEAST_STORE,
    MOST_STORE,
    RAYS,
    Orders,
    folder,
    object_store,
    ray_environment,
    ray_start,
)

ORDERS = Orders(job=12345678, handle="12345678", address="10.0.0.1", port=20_480, token="secret")
SOCKET_TAIL = len("/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store.log")


def started(node):
    mine = Share(node=node, name=f"node{node + 1}", cores=3, gpus=2, memory=8 * 2**30)
    return ray_start(ORDERS, mine, f"10.0.0.{node + 1}", head_block(20_480))


def test_the_first_node_is_the_head_and_the_others_join_it():
    assert "--head" in started(0) and "--port=20480" in started(0)
    assert "--address=10.0.0.1:20480" in started(1) and "--head" not in started(1)


def test_ray_counts_what_the_job_has_and_not_what_the_host_has():
    assert {"--num-cpus=3", "--num-gpus=2", f"--memory={8 * 2**30}", "--node-name=node2",
            "--node-ip-address=10.0.0.2", "--labels=launcher-order=000001"} <= set(started(1))


def test_the_object_store_is_small_and_fits_the_job():
    assert object_store(None) == object_store(2**30) == LEAST_STORE
    assert LEAST_STORE < object_store(8 * 2**30) < 2**30
    assert object_store(2**40) == MOST_STORE


def test_paths_of_sockets_are_short_enough_whatever_tmpdir_says(monkeypatch):
    monkeypatch.setenv("TMPDIR", "/scratch/" + "x" * 100)
    assert len(str(folder(2**32, 1023) / RAYS)) + SOCKET_TAIL <= 107
    assert f"--temp-dir=/tmp/lr12345678-1/{RAYS}" in started(1)


def test_no_token_stands_in_a_command_line_or_an_environment():
    environment = ray_environment({"RAY_ADDRESS": "auto", "HOME": "/home/me"}, ORDERS.job, 1)
    assert ORDERS.token not in " ".join([*started(0), *started(1), *environment.values()])
    assert environment["RAY_AUTH_MODE"] == "token" and environment["RAY_AUTH_TOKEN_PATH"] == "/tmp/lr12345678-1/token"


def test_a_surrounding_ray_does_not_redirect_this_one():
    stray = {"RAY_ADDRESS": "auto", "RAY_TMPDIR": "/x", "RAY_AUTH_TOKEN": "theirs", "RAY_AUTH_MODE": "disabled"}
    environment = ray_environment({**stray, "HOME": "/home/me"}, 1, 0)
    assert not {"RAY_ADDRESS", "RAY_TMPDIR", "RAY_AUTH_TOKEN"} & set(environment)
    assert environment["RAY_AUTH_MODE"] == "token" and environment["HOME"] == "/home/me"


def test_an_address_is_the_one_that_a_peer_sees():
    assert towards("127.0.0.1") == "127.0.0.1"
    assert head_address(["localhost"]) == "127.0.0.1" == head_address(["no such host", "127.0.0.1"])


def test_of_a_machine_with_two_kinds_of_addresses_the_one_counts_that_ray_can_take(monkeypatch):
    datagram = (socket.SOCK_DGRAM, socket.IPPROTO_UDP, "")
    both = [(socket.AF_INET6, *datagram, ("::1", 9, 0, 0)), (socket.AF_INET, *datagram, ("127.0.0.1", 9))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: both)
    assert towards("node2") == "127.0.0.1"


def test_a_machine_is_silent_that_neither_takes_nor_refuses_a_connection(monkeypatch):
    def connect(address, _patience):
        raise {"up": ConnectionRefusedError, "off": TimeoutError, "cut": OSError}.get(address[0], socket.gaierror)

    monkeypatch.setattr(socket, "create_connection", connect)
    assert silent(["up", "off", "cut", "no such name"]) == ["off", "cut"]
