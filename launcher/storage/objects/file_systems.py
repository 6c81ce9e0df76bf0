"""The file systems of fsspec through which Google's, Azure's and other storage is asked, opened so that they ask once.

Decides what is changed of them: both ask again by themselves, which would multiply with `objects.retries` and hide what
went wrong behind a time-out. Neither has a setting for that, so what does it is taken off where it is found.
Credentials are looked for while a file system is opened; that there are none is told as of any store.
"""

import importlib
from contextlib import suppress
from typing import Any, cast

from launcher.storage.objects.addresses import AZURE, GOOGLE, PACKAGES, Address
from launcher.storage.objects.trouble import Kind, Trouble, refusal

PLAIN: dict[str, Any] = {"use_listings_cache": False, "skip_instance_cache": True}


def file_system(address: Address) -> Any:
    """Return a file system for one store. Raises StoreRefused without credentials that can be read."""
    opened = {GOOGLE: _google, AZURE: _azure}.get(PACKAGES[address.scheme], _other)
    with suppress(ValueError):
        return opened(address)
    # Out of the handler: a library's own message may quote what it read.
    raise refusal(address, "", Trouble(Kind.NO_CREDENTIALS, "none that can be read"))


def _google(address: Address) -> Any:
    # What gcsfs opens by itself asks another service, by gRPC, of what kind a bucket is, before each request where
    # that service does not answer.
    core: Any = importlib.import_module("gcsfs.core")
    again = core.GCSFileSystem._request
    once = getattr(again, "__wrapped__", again)

    class AsksOnce(core.GCSFileSystem):
        async def _request(self, *arguments: Any, **options: Any) -> Any:
            try:
                return await once(self, *arguments, **options)
            except ValueError as error:
                # Of any status whose message has the word "invalid"; what else it says may quote the request.
                raise OSError("Bad Request") from error
            except Exception as error:
                if cast(Any, self).credentials.credentials is None and getattr(error, "code", None) == 401:
                    raise NoCredentialsError from error
                raise

        async def _get_directory_info(self, path: str, *_: Any) -> Any:
            # Nobody asks for folders, and to look for one is a listing beside each look at an object.
            raise FileNotFoundError(path)

    return AsksOnce(**PLAIN)


def _azure(address: Address) -> Any:
    fsspec: Any = importlib.import_module("fsspec")
    account = {"account_name": address.account} if address.account else {}
    system = fsspec.filesystem(address.scheme, **PLAIN, **account)
    if (policy := getattr(getattr(system.service_client, "_config", None), "retry_policy", None)) is not None:
        policy.total_retries = 0
    return system


def _other(address: Address) -> Any:
    fsspec: Any = importlib.import_module("fsspec")
    return fsspec.filesystem(address.scheme, **PLAIN)


class NoCredentialsError(Exception):
    """Google wants to know who asks, and no credentials were found."""
