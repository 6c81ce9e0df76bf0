"""Buckets on this machine: moto's S3 behind a relay that makes it S3's equal, and one that fails as networks do.

    def test_x(bucket):        bucket.url is s3://..., for this process and those that it starts
    def test_y(faulty_bucket): the same; one request in five goes wrong

The relay does one write at a time: moto looks whether an object is there and then puts it, where S3 does both as one.
It also knows what was asked: `bucket.relay.asked`. Faults of another kind or share: `bucket.relay.faults = ...`, with
what `tests.storage.s3_relay` has. These fixtures are made known to all tests by `tests/conftest.py`.
"""

import importlib.util
import secrets
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import pytest

from tests.data.reading.servers import s3_server
from tests.storage.s3_relay import Faults, Relay


@dataclass(frozen=True)
class Bucket:
    """One bucket of its own."""

    name: str
    relay: Relay
    direct: str
    """moto's own address, where nothing goes wrong."""

    @property
    def url(self) -> str:
        return f"s3://{self.name}/runs/x"

    def ask(self, query: str = "") -> str:
        """Return what S3 itself says of the bucket."""
        with urllib.request.urlopen(f"{self.direct}/{self.name}{query}", timeout=30) as answer:
            return answer.read().decode()

    def put(self, key: str, data: bytes) -> None:
        """Put an object below the bucket's own root, past the relay."""
        plain = {"Content-Type": "application/octet-stream"}
        urllib.request.urlopen(urllib.request.Request(f"{self.direct}/{self.name}/{key}", data, plain, method="PUT"),
                               timeout=30).close()


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    """One server for all tests. Skips them where it is not installed."""
    if not all(map(importlib.util.find_spec, ("moto", "flask", "s3fs"))):
        pytest.skip("moto[server] or s3fs is not installed")
    import botocore.loaders

    with s3_server() as address, pytest.MonkeyPatch.context() as patch:
        # Each client reads megabytes of JSON about all services, and here each test has clients.
        patch.setattr(botocore.loaders, "create_loader", cache(botocore.loaders.create_loader))
        yield address


@contextmanager
def a_bucket(moto: str, monkeypatch: pytest.MonkeyPatch, faults: Faults | None = None) -> Iterator[Bucket]:
    """Make a bucket, have the environment point at it, and yield it. Faults begin when it is there."""
    relay = Relay(moto, faults)
    threading.Thread(target=relay.serve_forever, args=(0.02,), daemon=True).start()
    said = {"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "planted-secret", "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "AWS_ENDPOINT_URL": relay.address}
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    name = f"bucket-{secrets.token_hex(4)}"
    urllib.request.urlopen(urllib.request.Request(f"{moto}/{name}", method="PUT"), timeout=30).close()
    try:
        yield Bucket(name, relay, moto)
    finally:
        relay.over.set()
        relay.shutdown()
        relay.server_close()


@pytest.fixture
def bucket(moto: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """A bucket that works."""
    with a_bucket(moto, monkeypatch) as made:
        yield made


@pytest.fixture
def faulty_bucket(moto: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """A bucket whose requests go wrong one time in five; the seed is printed where a test fails."""
    seed = time.time_ns() % 2**32
    print(f"faults of seed {seed}")
    with a_bucket(moto, monkeypatch, Faults(seed)) as made:
        yield made
