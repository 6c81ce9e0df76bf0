"""URLs of object storage: which are taken, in what form, and what has to be installed for them.

Decides that a URL names a bucket or container and a prefix in it, and nothing else: no credentials, for URLs end up in
plans, logs and messages, and no version or query. Whether the bucket is there is found out by the first request.
"""

import importlib.util
import re
from dataclasses import dataclass

from launcher.core.errors import UserError

FORM = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
# Package and extra of each. Other kinds that fsspec knows (ftp, sftp, web pages, archives) show files half-written.
S3, GOOGLE, AZURE = ("s3fs", "s3"), ("gcsfs", "gs"), ("adlfs", "az")
PACKAGES = {"s3": S3, "s3a": S3, "gs": GOOGLE, "gcs": GOOGLE, "az": AZURE, "abfs": AZURE, "abfss": AZURE,
            "memory": ("fsspec", "")}
# What their services take, so that a slip is told before anything is asked; S3's own library tells of S3's.
NAMES = {GOOGLE: re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]"),
         AZURE: re.compile(r"\$root|\$web|(?=.{3,63}$)[a-z0-9]+(-[a-z0-9]+)*")}
KINDS = "s3://bucket/folder, gs://bucket/folder or az://container/folder"
OUTSIDE = ("credentials come from outside the URL: from the environment, the provider's own files, or the machine's "
           "role")


@dataclass(frozen=True)
class Address:
    """Where a store lies."""

    scheme: str
    root: str
    """Bucket and prefix, without a slash at either end."""

    @property
    def path(self) -> str:
        """Return bucket and prefix as file systems take them: without Azure's account."""
        bucket, slash, prefix = self.root.partition("/")
        return f"{bucket.partition('@')[0]}{slash}{prefix}"

    @property
    def account(self) -> str:
        """Return the account that Azure's own form names; nothing elsewhere, and where the environment tells."""
        return self.root.partition("/")[0].partition("@")[2].partition(".")[0]

    @property
    def url(self) -> str:
        """Return what it was read from."""
        return f"{self.scheme}://{self.root}"

    @property
    def bucket_url(self) -> str:
        """Return the URL of the whole bucket."""
        return f"{self.scheme}://{self.root.partition('/')[0]}"

    def url_of(self, key: str) -> str:
        """Return what messages name an object by."""
        return f"{self.url}/{key}" if key else self.url


def address_of(url: str) -> Address:
    """Return where a URL points. Raises UserError, which never repeats what may be a credential."""
    form = FORM.fullmatch(url)
    if form is None or "::" in url:
        raise UserError(f"{_shown(url)}: is not the URL of a store; give a path, or {KINDS}")
    scheme, rest = form[1].lower(), form[2].rstrip("/")
    if scheme not in PACKAGES:
        raise UserError(f"{_shown(url)}: {scheme}:// is no object storage that launcher writes to; give a path, or "
                        f"{KINDS}")
    # A secret key may have a slash in it; only Azure's own form is container@account.
    before, at, _ = rest.partition("@")
    if at and (":" in before or ("/" not in before and not scheme.startswith("abfs"))):
        raise UserError(f"{_shown(url)}: has a user or a password in it; take it out: {OUTSIDE}")
    if "?" in rest or "#" in rest:
        raise UserError(f"{_shown(url)}: ends in a query; a store is a bucket and a folder in it, and {OUTSIDE}")
    if not rest or any(part in ("", ".", "..") for part in rest.split("/")) or not rest.isprintable():
        raise UserError(f"{_shown(url)}: is not a bucket and a folder in it; write it like {KINDS}")
    bucket = rest.partition("/")[0].partition("@")[0]
    if (names := NAMES.get(PACKAGES[scheme])) is not None and not names.fullmatch(bucket):
        raise UserError(f"{_shown(url)}: {bucket!r} cannot be a bucket's or container's name: lower-case letters, "
                        "digits and hyphens, 3 to 63 of them")
    return Address(scheme, rest)


def check_installed(address: Address) -> None:
    """Raise UserError if the package that reaches this kind of storage is not installed. Imports nothing."""
    package, extra = PACKAGES[address.scheme]
    if importlib.util.find_spec(package) is None:
        raise UserError(f"{address.url}: needs the package {package}, which is not installed here; "
                        f"pip install 'launcher[{extra}]'")


def _shown(url: str) -> str:
    """Return a URL without what may be a credential: before an @, and after a ? or a #."""
    return re.sub(r"://.*@|[?#].*", lambda found: "://***@" if found[0][0] == ":" else "?***", url, flags=re.DOTALL)
