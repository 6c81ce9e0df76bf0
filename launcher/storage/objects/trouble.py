"""What an error of a request means, whichever library under fsspec raised it, and how it is told.

Decides which errors may pass, so that asking again is worth while, and which are a person's move. Errors are known by
status, code and class name: the libraries are not imported, and each has its own family. How long is asked again is
`objects.retries`.
"""

import errno
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, cast

from launcher.core.errors import UserError
from launcher.storage.files import is_full
from launcher.storage.objects.addresses import PACKAGES, Address


class Kind(Enum):
    """What is to be done about it."""

    PASSING = auto()
    """Ask again."""
    UNREACHABLE = auto()
    """Ask again, but not for long where nothing was ever reached: the address may be wrong."""
    MISSING = auto()
    CONDITION = auto()
    """What the request was to depend on did not hold."""
    PAST_END = auto()
    NO_BUCKET = auto()
    NO_CREDENTIALS = auto()
    DENIED = auto()
    REFUSED = auto()
    NOT_ITS_OWN = auto()
    """No error of the storage: a defect, or a disk of this node that is full. Raised as it is."""


@dataclass(frozen=True)
class Trouble:
    """One failed request."""

    kind: Kind
    said: str
    """A code or the name of an error; nothing in it that a server or a library made of the request."""


class NotSo(Exception):
    """What a request was to depend on did not hold: the object is there already, or is another by now."""


class PastEnd(Exception):
    """A range begins behind the object's end."""


class StoreRefused(UserError, OSError):
    """A person's move, and trouble with the medium for whoever goes on without it."""

    def __init__(self, url: str, problem: str) -> None:
        super().__init__(f"{url}: {problem}")
        self.errno, self.strerror, self.filename = errno.EACCES, problem, url

    def __str__(self) -> str:
        """Return the whole message."""
        return f"{self.filename}: {self.strerror}"


# As they are compared: Azure's come with underscores and in capitals too.
CODES = {kind: {code.lower() for code in codes} for kind, codes in {
    Kind.PASSING: {"SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequests",
                   "RequestTimeout", "RequestTimeoutException", "InternalError", "ServiceUnavailable", "IncompleteBody",
                   "OperationAborted", "ConditionalRequestConflict", "BadDigest", "XAmzContentSHA256Mismatch",
                   "ServerBusy", "OperationTimedOut"},
    Kind.MISSING: {"NoSuchKey", "NoSuchUpload", "BlobNotFound", "ResourceNotFound"},
    Kind.CONDITION: {"PreconditionFailed", "ConditionNotMet", "BlobAlreadyExists"},
    Kind.PAST_END: {"InvalidRange"},
    Kind.NO_BUCKET: {"NoSuchBucket", "InvalidBucketName", "ContainerNotFound", "InvalidResourceName"},
    Kind.DENIED: {"AccessDenied", "AllAccessDisabled", "AccountProblem", "ExpiredToken", "InvalidAccessKeyId",
                  "InvalidToken", "SignatureDoesNotMatch", "TokenRefreshRequired", "RequestTimeTooSkewed",
                  "AuthenticationFailed", "AuthorizationFailure", "AuthorizationPermissionMismatch"},
}.items()}
STATUS = {401: Kind.DENIED, 403: Kind.DENIED, 404: Kind.MISSING, 408: Kind.PASSING, 412: Kind.CONDITION,
          416: Kind.PAST_END, 425: Kind.PASSING, 429: Kind.PASSING, 500: Kind.PASSING, 502: Kind.PASSING,
          503: Kind.PASSING, 504: Kind.PASSING}
# By the name of an error's class or of one that it is derived from. The first kind that fits counts.
CLASSES = {
    Kind.NO_CREDENTIALS: {"NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError",
                          "ProfileNotFound", "NoAuthTokenError", "SSOError", "TokenRetrievalError",
                          "DefaultCredentialsError", "ClientAuthenticationError", "InvalidConfigError"},
    Kind.UNREACHABLE: {"EndpointConnectionError", "ConnectTimeoutError", "ClientConnectorError",
                       "ConnectionRefusedError", "gaierror"},
    Kind.PASSING: {"HTTPClientError", "ConnectionError", "ResponseParserError", "IncompleteReadError", "IncompleteRead",
                   "ClientConnectionError", "ClientPayloadError", "FSTimeoutError", "TimeoutError", "TransportError",
                   "ServiceRequestError", "ServiceResponseError"},
    Kind.CONDITION: {"FileExistsError", "FileExpired"},
    Kind.MISSING: {"FileNotFoundError"},
    Kind.DENIED: {"PermissionError"},
    # Of a bucket's name that cannot be one; keys are checked before.
    Kind.NO_BUCKET: {"ParamValidationError"},
}
# Where nothing says more.
REFUSED_CLASSES = {Kind.REFUSED: {"OSError", "BotoCoreError", "ClientError", "AzureError", "GoogleAuthError"}}


def trouble_of(error: BaseException) -> Trouble:
    """Return what an error of a request means."""
    if isinstance(error, OSError) and is_full(error):
        return Trouble(Kind.NOT_ITS_OWN, "no room")
    chain = tuple(_chain(error))
    return (_by_code(chain) or _by_class(chain, CLASSES) or _by_status(chain) or _by_class(chain, REFUSED_CLASSES) or
            Trouble(Kind.NOT_ITS_OWN, type(error).__name__))


def _by_code(chain: Sequence[BaseException]) -> Trouble | None:
    """Return what a service's own word says, or the answer that has none."""
    for each in chain:
        code, status = _code(each), _status(each)
        if code or _answer(each):
            plain = code.rpartition(".")[2].replace("_", "").lower()
            by_code = next((kind for kind, codes in CODES.items() if plain in codes), None)
            return Trouble(by_code or _of_status(status), code or f"HTTP {status}")
    return None


def _by_class(chain: Sequence[BaseException], classes: dict[Kind, set[str]]) -> Trouble | None:
    """Return what the names of errors say: the innermost says most, for libraries wrap what they cannot name."""
    for each in reversed(chain):
        if isinstance(each, ssl.SSLCertVerificationError):
            return Trouble(Kind.REFUSED, "its certificate is not trusted")
        # gcsfs says it in words alone.
        if isinstance(each, OSError) and str(each).startswith("Forbidden: "):
            return Trouble(Kind.DENIED, "Forbidden")
        names = {base.__name__ for base in type(each).__mro__}
        if (found := next((kind for kind, known in classes.items() if names & known), None)) is not None:
            return Trouble(found, type(each).__name__)
    return None


def _by_status(chain: Sequence[BaseException]) -> Trouble | None:
    """Return what a bare status says. After the classes: of an answer that broke off aiohttp makes a status too."""
    status = next((status for each in chain if (status := _status(each))), 0)
    return Trouble(_of_status(status), f"HTTP {status}") if status else None


def _of_status(status: int) -> Kind:
    # Above the known ones each server between here and there has numbers of its own.
    return STATUS.get(status, Kind.PASSING if status > 511 else Kind.REFUSED)


def refusal(address: Address, key: str, trouble: Trouble) -> OSError:
    """Return how to tell a person of what will not pass."""
    said = f"({trouble.said})"
    if trouble.kind is Kind.NO_BUCKET:
        return StoreRefused(address.bucket_url, f"there is no such bucket {said}; make it, or mend the name"
                            f"{_endpoint(address)}")
    if trouble.kind is Kind.NO_CREDENTIALS:
        return StoreRefused(address.url, f"there are no credentials for it {said}; {_where(address)}")
    if trouble.kind is Kind.DENIED:
        return StoreRefused(address.url_of(key), f"access is denied {said}; it takes credentials that may list, read, "
                            f"write and delete below {address.url}: {_where(address)}")
    return OSError(errno.EREMOTEIO, f"the storage refused the request {said}", address.url_of(key))


def _where(address: Address) -> str:
    return {
        "s3fs": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give the machine a role",
        "gcsfs": "set GOOGLE_APPLICATION_CREDENTIALS, or log in with gcloud, or give the machine a service account",
        "adlfs": "set AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT_NAME with AZURE_STORAGE_ACCOUNT_KEY, "
                 "an `az login`, or a role of the machine",
    }.get(PACKAGES[address.scheme][0], "check who may use it")


def _endpoint(address: Address) -> str:
    return ", or the endpoint in AWS_ENDPOINT_URL" if PACKAGES[address.scheme][0] == "s3fs" else ""


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        each = each.__cause__ or each.__context__


def _answer(error: BaseException) -> dict[str, Any]:
    """Return what botocore keeps of an answer; nothing of other errors."""
    response = getattr(error, "response", None)
    return cast(dict[str, Any], response) if isinstance(response, dict) else {}


def _code(error: BaseException) -> str:
    """Return the service's own code: botocore's, or Azure's. What has no body has the status there."""
    said = getattr(error, "error_code", None)
    code = str(_answer(error).get("Error", {}).get("Code") or getattr(said, "value", said) or "")
    return "" if code.isdigit() else code


def _status(error: BaseException) -> int:
    """Return the status of HTTP: botocore's, or what others have under one of these names."""
    found: Any = _answer(error).get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    for name in ("status", "status_code", "code"):
        found = found or getattr(error, name, 0)
    return int(found) if str(found).isdigit() else 0
