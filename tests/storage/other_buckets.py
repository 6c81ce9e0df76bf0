"""Buckets of Google and containers of Azure on this machine: an emulator behind a relay, as `a_bucket` has S3's.

    def test_x(gs_bucket):      gs_bucket.url is gs://..., for this process and those that it starts
    def test_y(az_bucket):      the same with az://...

gs:// needs gcsfs and gcp-storage-emulator, az:// needs adlfs and Azurite (`npm install azurite`): its azurite-blob on
the PATH, or where LAUNCHER_TEST_AZURITE says. Where they are not, a test is skipped and says what is missing. What
neither stand-in can tell is how the services' own credentials work: none are asked for at the one, and the other's are
those of its documentation.
"""

import importlib.util
import json
import os
import secrets
import shutil
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import quote

import pytest

from tests.data.reading.servers import azurite_server, google_server
from tests.storage.a_bucket import Bucket
from tests.storage.other_relays import AzureRelay, GoogleRelay
from tests.storage.s3_relay import Relay

ACCOUNT = "devstoreaccount1"
# Azurite's, in its documentation; not a secret.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
NO_CREDENTIALS = ("GOOGLE_APPLICATION_CREDENTIALS", "AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT_KEY",
                  "AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_CLIENT_ID")


@dataclass(frozen=True)
class GoogleBucket(Bucket):
    """One bucket of its own at Google's stand-in."""

    @property
    def url(self) -> str:
        return f"gs://{self.name}/runs/x"

    def put(self, key: str, data: bytes) -> None:
        """Put an object below the bucket's own root, past the relay."""
        _ask(f"{self.direct}/upload/storage/v1/b/{self.name}/o?uploadType=media&name={quote(key, safe='')}", data)


@dataclass(frozen=True)
class AzureContainer(Bucket):
    """One container of its own at Azure's stand-in."""

    @property
    def url(self) -> str:
        return f"az://{self.name}/runs/x"

    def put(self, key: str, data: bytes) -> None:
        """Put an object below the container's own root, past the relay."""
        from azure.storage.blob import BlobClient

        with BlobClient.from_connection_string(connection(self.direct), self.name, key) as blob:
            blob.upload_blob(data, overwrite=True)


def connection(address: str) -> str:
    """Return Azure's way to say an address with an account and its key."""
    return (f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};"
            f"BlobEndpoint={address}/{ACCOUNT};")


def azurite_program() -> str | None:
    """Return Azurite's program for blobs; None where it is not installed."""
    return os.environ.get("LAUNCHER_TEST_AZURITE") or shutil.which("azurite-blob")


@pytest.fixture(scope="session")
def google() -> Iterator[str]:
    """One stand-in for all tests."""
    if not all(map(importlib.util.find_spec, ("gcsfs", "gcp_storage_emulator"))):
        pytest.skip("gcsfs or gcp-storage-emulator is not installed")
    with google_server() as address:
        yield address


@pytest.fixture(scope="session")
def azurite() -> Iterator[str]:
    """One stand-in for all tests."""
    if importlib.util.find_spec("adlfs") is None:
        pytest.skip("adlfs is not installed")
    if (program := azurite_program()) is None:
        pytest.skip("Azurite is not installed: no azurite-blob on the PATH, and LAUNCHER_TEST_AZURITE names none")
    with azurite_server(program) as address:
        yield address


@pytest.fixture
def gs_bucket(google: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[GoogleBucket]:
    """A bucket of Google's that works."""
    name = f"bucket-{secrets.token_hex(4)}"
    _ask(f"{google}/storage/v1/b", json.dumps({"name": name}).encode(), {"Content-Type": "application/json"})
    with _relayed(GoogleRelay(google)) as relay:
        _say(monkeypatch, {"STORAGE_EMULATOR_HOST": relay.address, "NO_GCE_CHECK": "true"})
        yield GoogleBucket(name, relay, google)


@pytest.fixture
def az_bucket(azurite: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[AzureContainer]:
    """A container of Azure's that works."""
    from azure.storage.blob import ContainerClient

    name = f"container-{secrets.token_hex(4)}"
    with ContainerClient.from_connection_string(connection(azurite), name) as container:
        container.create_container()
    with _relayed(AzureRelay(azurite)) as relay:
        _say(monkeypatch, {"AZURE_STORAGE_CONNECTION_STRING": connection(relay.address)})
        yield AzureContainer(name, relay, azurite)


@contextmanager
def _relayed(relay: Relay) -> Iterator[Relay]:
    threading.Thread(target=relay.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield relay
    finally:
        relay.over.set()
        relay.shutdown()
        relay.server_close()


def _say(monkeypatch: pytest.MonkeyPatch, environment: Mapping[str, str]) -> None:
    for name in NO_CREDENTIALS:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


def _ask(address: str, data: bytes, headers: Mapping[str, str] | None = None) -> None:
    plain = headers or {"Content-Type": "application/octet-stream"}
    urllib.request.urlopen(urllib.request.Request(address, data, dict(plain), method="POST"), timeout=30).close()
