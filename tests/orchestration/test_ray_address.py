"""An address that cannot be a Ray cluster's head, or where nobody answers, is told before anything starts."""

import socket

import pytest

from launcher.core.errors import PlatformError, UserError
from launcher.orchestration.ray_address import parse_address, require_answer


def test_host_and_port_are_taken_apart():
    assert parse_address("head.cluster:6379") == ("head.cluster", 6379)
    assert parse_address("[::1]:6379") == ("::1", 6379)


@pytest.mark.parametrize("address", ["auto", "head", ":6379", "head:", "head:0", "head:99999", "ray://head:10001"])
def test_what_is_no_address_of_a_head_is_refused_with_one_that_would_be(address):
    with pytest.raises(UserError, match=r"HOST:PORT"):
        parse_address(address)


def test_a_head_that_listens_is_taken_and_one_that_does_not_is_told_at_once():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        require_answer(address)
    with pytest.raises(PlatformError, match=f"{address}: Connection refused"):
        require_answer(address)
