"""Requests to S3 and to what speaks as it does, through s3fs, whose settings and credentials hold: AWS_*, FSSPEC_S3_*.

Neither s3fs nor botocore asks again here: they would multiply with `objects.retries`, and bound nothing by time.
"""

import importlib
import os
from typing import Any

from launcher.core.errors import PlatformError
from launcher.storage.objects.addresses import Address
from launcher.storage.objects.requests import Head, run_within
from launcher.storage.objects.trouble import StoreRefused

MARK = "launcher-mark"
CONNECT_S = 10.0
ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")


class S3Requests:
    """One client. Requests of all threads run in fsspec's own."""

    marks = True
    most_parts = 10_000

    def __init__(self, address: Address, timeout_s: float, parallel: int) -> None:
        self._address, self._timeout_s = address, timeout_s
        for name in ENDPOINTS:
            if (endpoint := os.environ.get(name)) and not endpoint.startswith(("http://", "https://")):
                raise StoreRefused(address.url, f"{name} must begin with http:// or https://")
        fsspec: Any = importlib.import_module("fsspec")
        theirs: Any = importlib.import_module("fsspec.config").conf.get("s3", {}).get("config_kwargs", {})
        config = {"connect_timeout": min(CONNECT_S, timeout_s), "read_timeout": timeout_s,
                  "max_pool_connections": parallel + 8, "retries": {"total_max_attempts": 1}}
        self._system: Any = fsspec.filesystem("s3", use_listings_cache=False, skip_instance_cache=True,
                                              config_kwargs={**config, **theirs})
        self._system.retries = 1
        self._bucket, self._prefix, _ = self._system.split_path(address.root)
        self._bucket_seen = self._connected = False

    def head(self, key: str) -> Head:
        """Return size and entity tag."""
        said = self._head(key)
        return Head(int(said["ContentLength"]), str(said["ETag"]))

    def begin(self, key: str, size: int) -> tuple[bytes, Head]:
        """Return the first bytes and what the answer says of the whole."""
        data, said = self._read(size, Key=self._key(key), Range=f"bytes=0-{size - 1}")
        whole = str(said.get("ContentRange", "")).rpartition("/")[2]
        return data, Head(int(whole) if whole else len(data), str(said["ETag"]))

    def read(self, key: str, begin: int, end: int, tag: str = "") -> bytes:
        """Return a range."""
        condition = {"IfMatch": tag} if tag else {}
        return self._read(end - begin, Key=self._key(key), Range=f"bytes={begin}-{end - 1}", **condition)[0]

    def write(self, key: str, data: bytes, mark: str, *, new: bool) -> None:
        """Put an object; with `new` by If-None-Match, which S3 decides for all who ask at once."""
        condition = self.only_new("put_object") if new else {}
        self.ask("put_object", len(data), Key=self._key(key), Body=data, Metadata={MARK: mark}, **condition)

    def mark(self, key: str) -> str:
        """Return the mark in an object's metadata."""
        return str(self._head(key).get("Metadata", {}).get(MARK, ""))

    def upload(self, key: str, mark: str, *, new: bool) -> "S3Upload":
        """Begin a multipart upload."""
        if new:
            self.only_new("complete_multipart_upload")
        said = self.ask("create_multipart_upload", 0, Key=self._key(key), Metadata={MARK: mark})
        return S3Upload(self, self._key(key), str(said["UploadId"]))

    def delete(self, key: str) -> None:
        """Delete an object."""
        self.ask("delete_object", 0, Key=self._key(key))

    def page(self, prefix: str, after: str) -> tuple[list[str], str]:
        """Return up to a thousand keys."""
        more = {"ContinuationToken": after} if after else {}
        said = self.ask("list_objects_v2", 0, Prefix=self._key(prefix), **more)
        self._bucket_seen = True
        keys = [str(each["Key"])[len(self._key("")):] for each in said.get("Contents", ())]
        return keys, str(said.get("NextContinuationToken") or "")

    def unfinished(self, prefix: str) -> list["S3Upload"]:
        """Return the multipart uploads below a prefix that are neither completed nor aborted."""
        found: list[S3Upload] = []
        markers: dict[str, str] = {}
        while True:
            said = self.ask("list_multipart_uploads", 0, Prefix=self._key(prefix), **markers)
            found += [S3Upload(self, str(each["Key"]), str(each["UploadId"])) for each in said.get("Uploads", ())]
            if not said.get("IsTruncated"):
                return found
            markers = {"KeyMarker": said["NextKeyMarker"], "UploadIdMarker": said["NextUploadIdMarker"]}

    def ask(self, method: str, size: int, **arguments: Any) -> Any:
        """Make a request of the bucket."""
        return self._within(self._system._call_s3, size, method, **arguments)

    def only_new(self, method: str) -> dict[str, str]:
        """Return what makes a request fail where there is an object."""
        condition = {"IfNoneMatch": "*"}
        self._connect()
        # s3fs leaves out what an old botocore does not know, and the object of somebody else would be replaced.
        if not self._system._kwargs_helper.filter_dict(method, condition):
            raise PlatformError(f"{self._address.url}: the botocore installed here knows no conditional puts; "
                                "pip install -U 'launcher[s3]'")
        return condition

    def _key(self, key: str) -> str:
        return f"{self._prefix}/{key}" if self._prefix else key

    def _head(self, key: str) -> Any:
        try:
            return self.ask("head_object", 0, Key=self._key(key))
        except FileNotFoundError:
            # An answer without a body does not say what is missing: the object, or the whole bucket.
            if not self._bucket_seen:
                self.page(key, "")
            raise

    def _read(self, size: int, **arguments: Any) -> tuple[bytes, Any]:
        return self._within(self._get, size, **arguments)

    def _within(self, coroutine: Any, size: int, *args: Any, **more: Any) -> Any:
        self._connect()
        return run_within(self._system, coroutine, self._timeout_s, size, *args, Bucket=self._bucket, **more)

    def _connect(self) -> None:
        # Without a time-out: given up half-way, the client would be made anew each time, and on a busy machine never.
        if not self._connected:
            self._system.connect()
            self._connected = True

    async def _get(self, **arguments: Any) -> tuple[bytes, Any]:
        said = await self._system._call_s3("get_object", **arguments)
        try:
            data = await said["Body"].read()
        finally:
            said["Body"].close()
        if len(data) != said["ContentLength"]:
            raise ConnectionError("the answer broke off")
        return data, said


class S3Upload:
    """A multipart upload."""

    repeatable = True

    def __init__(self, requests: S3Requests, key: str, upload_id: str) -> None:
        self._requests, self._where = requests, {"Key": key, "UploadId": upload_id}

    def part(self, number: int, data: bytes) -> str:
        """Send a part; sent again, it replaces what came before."""
        said = self._requests.ask("upload_part", len(data), PartNumber=number, Body=data, **self._where)
        return str(said["ETag"])

    def complete(self, receipts: list[str], *, new: bool) -> None:
        """Make one object of the parts."""
        parts = [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(receipts, 1)]
        condition = self._requests.only_new("complete_multipart_upload") if new else {}
        self._requests.ask("complete_multipart_upload", 0, MultipartUpload={"Parts": parts}, **self._where, **condition)

    def abort(self) -> None:
        """Take the parts away."""
        self._requests.ask("abort_multipart_upload", 0, **self._where)
