"""How Google's calls fail, classified once for the whole operator.

CloudError
├── Transient            try again later: 429, 500, 502, 503, 504, lost connections, and whatever is unknown
│   └── Unreachable      a host that no connection can be made to: its name, or the way there
├── Unfinished           a part of it is done, and the rest is to be asked for at once
├── Conflict             observe again: stale etag, already exists, another operation in progress
├── NotFound             it is not there
├── Propagating          a fresh service account or grant is not known everywhere yet: wait, bounded
├── PermissionDenied     the operator's identity lacks a permission
│   └── Unidentified     it has none: there are no credentials
├── ApiDisabled          the Google API is not turned on in the project
├── QuotaExceeded        a limit of the project, not of a moment
├── VersionDisabled      a secret's version in use was disabled by somebody
├── NameReserved         Google keeps the name of what was deleted, for days
└── Invalid              the request can never succeed as it is
    └── PolicyViolated   nor may it, where the project lies: a policy of its organisation forbids it
"""

from __future__ import annotations

import asyncio
import re
from typing import Any

import requests
from google.api_core import exceptions as google
from google.auth import exceptions as auth

ACCOUNT_MISSING = re.compile(r"[Ss]ervice account .*does not exist|Unknown service account")
SECRET_REFUSED = re.compile(r"Permission denied on secret")
# How Cloud SQL (400), Cloud Storage (412) and Cloud Run (FAILED_PRECONDITION) name an organisation's policy.
CONSTRAINT = re.compile(r"[cC]onstraints/([A-Za-z]+(?:\.\w+)+)")
TIMEOUTS = (asyncio.TimeoutError, requests.Timeout)
PERMISSION = re.compile(r"[Pp]ermission '?\"?([a-z]+\.[\w.]+)'?\"?")


class CloudError(Exception):
    """A failed call: `cause` is Google's message; `retry_after` seconds, where Google named them."""

    def __init__(
        self,
        cause: str,
        *,
        permission: str = "",
        service: str = "",
        constraint: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(cause)
        self.cause, self.retry_after = cause, retry_after
        self.permission, self.service, self.constraint = permission, service, constraint


class Transient(CloudError):
    """Worth trying again with backoff."""


class Unreachable(Transient):
    """No connection: the host's name leads nowhere, nothing listens there, or the proxy found no way."""


class Unfinished(CloudError):
    """No failure: what was asked for is more than one pass takes. Ask again at once."""


class Conflict(CloudError):
    """The world has moved: observe again."""


class NotFound(CloudError):
    """It is not there; a parent that is gone counts too."""


class Propagating(CloudError):
    """Eventual consistency of IAM: it heals by itself within minutes (behaviour.md, section 5)."""


class PermissionDenied(CloudError):
    """`permission` is the one that is missing, where Google says so."""


class Unidentified(PermissionDenied):
    """No call was made; the cause holds the remedy."""


class ApiDisabled(CloudError):
    """`service` is the API's host name."""


class QuotaExceeded(CloudError):
    """Only somebody raising a limit helps."""


class VersionDisabled(CloudError):
    """Somebody disabled the version of a secret that is in use, which only they may undo."""


class NameReserved(CloudError):
    """Nothing is there, and nothing of that name may be made: what bore it was deleted some days ago."""


class Invalid(CloudError):
    """Trying again is of no use."""


class PolicyViolated(Invalid):
    """Only who sets the organisation's policies can allow it; `constraint` is the policy's name."""


def classify(error: Exception) -> CloudError:
    """Ours for one of Google's, of grpc's, of requests' or of asyncio's; an unknown one is transient."""
    message = str(getattr(error, "message", "") or error)
    if isinstance(error, CloudError):
        return error
    is_refusal = isinstance(error, google.BadRequest | google.Forbidden | google.PreconditionFailed)
    constraint = CONSTRAINT.search(message) if is_refusal else None
    return _of_class(error, message) if constraint is None else PolicyViolated(message, constraint=constraint[1])


def _of_class(error: Exception, message: str) -> CloudError:
    if isinstance(error, google.NotFound):
        return Propagating(message) if ACCOUNT_MISSING.search(message) else NotFound(message)
    if isinstance(error, google.Forbidden):
        return _forbidden(error, message)
    if isinstance(error, google.TooManyRequests):
        return _exhausted(error, message)
    if isinstance(error, google.Conflict | google.PreconditionFailed):  # 409 and 412
        return Conflict(message)
    if isinstance(error, google.FailedPrecondition):
        return Conflict(message) if "etag" in message.lower() else Invalid(message)
    if isinstance(error, google.BadRequest | google.MethodNotImplemented):
        return Propagating(message) if ACCOUNT_MISSING.search(message) else Invalid(message)
    if isinstance(error, google.Unauthorized):  # a token that ran out on its way: the next one is fresh
        return Transient(message)
    if isinstance(error, TIMEOUTS) or isinstance(error.__cause__, TIMEOUTS):
        return Transient("the call took too long")  # whoever noticed first: a client's words name its own objects
    if isinstance(error, auth.RefreshError):
        return PermissionDenied(message)
    return Transient(message or type(error).__name__)


def of_operation(code: int, message: str) -> CloudError | None:
    """How an operation failed that ended with this google.rpc.Status; None where it did not."""
    if SECRET_REFUSED.search(message):  # to the identity that the job or revision runs as, not to us
        return Propagating(message)
    return classify(google.from_grpc_status(code, message)) if code else None  # type: ignore[no-untyped-call]


def _forbidden(error: google.Forbidden, message: str) -> CloudError:
    for info in _infos(error):
        if info.reason == "SERVICE_DISABLED":
            return ApiDisabled(message, service=info.metadata.get("service", ""))
        if info.reason == "IAM_PERMISSION_DENIED":
            return PermissionDenied(message, permission=info.metadata.get("permission", ""))
    if "has not been used in project" in message:
        found = re.search(r"api/([a-z.]+googleapis\.com)", message)
        return ApiDisabled(message, service=found.group(1) if found else "")
    found = PERMISSION.search(message)
    return PermissionDenied(message, permission=found.group(1) if found else "")


def _exhausted(error: google.TooManyRequests, message: str) -> CloudError:
    """A rate heals with time, an allocation (service accounts in a project) does not."""
    if "Maximum number of service accounts" in message:
        return QuotaExceeded(message)
    for detail in getattr(error, "details", None) or ():
        delay = getattr(detail, "retry_delay", None)
        if delay is not None:
            return Transient(message, retry_after=delay.seconds + delay.nanos / 1e9)
    header = (getattr(error.response, "headers", None) or {}).get("Retry-After", "")
    return Transient(message, retry_after=float(header) if header.isdigit() else None)


def _infos(error: google.GoogleAPICallError) -> list[Any]:
    return [d for d in getattr(error, "details", None) or () if type(d).__name__ == "ErrorInfo"]
