"""The one way into a method, over gRPC and REST alike: who, may they, faults, the work, the log."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from google.protobuf.message import Message

from localcloud.core.cloud import Cloud
from localcloud.core.errors import ApiError, Code, permission_denied
from localcloud.core.identity import ANONYMOUS, OWNER, Caller, current_caller
from localcloud.core.keys import InvalidToken
from localcloud.core.requests import Request
from localcloud.core.service import Method, Service

T = TypeVar("T")

NO_CREDENTIAL = (
    "Request is missing required authentication credential. Expected OAuth 2 access token, login cookie or other valid "
    "authentication credential."
)


def caller_of(cloud: Cloud, authorization: str) -> Caller:
    """Who bears this Authorization header. Raises UNAUTHENTICATED for a token of ours that has expired, whose account
    is gone or disabled, or that is an ID token.
    """
    if not authorization:
        return ANONYMOUS
    token = authorization.removeprefix("Bearer ").removeprefix("bearer ")
    email = _signed_by(cloud, token) if cloud.keys.knows(token) else cloud.tokens.email(token)
    if email is None:
        return OWNER
    if cloud.tokens.expired(token) or not cloud.accounts.usable(email):
        raise _unauthenticated()
    return OWNER if email == OWNER.email else Caller(email)


def _signed_by(cloud: Cloud, token: str) -> str:
    """The account that made this JWT its bearer, without exchange (behaviour-runtime.md, section 2)."""
    try:
        owner, claims = cloud.keys.verify(token)
    except InvalidToken:
        raise _unauthenticated() from None
    if claims.get("iss") != owner or claims.get("sub", owner) != owner:  # an ID token of Google's, say
        raise _unauthenticated()
    return owner


def _unauthenticated() -> ApiError:
    return ApiError(
        Code.UNAUTHENTICATED,
        "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or "
        "other valid authentication credential.",
    )


async def invoke(
    cloud: Cloud, service: Service, method: Method, request: Message, authorization: str, reason: str
) -> Message:
    """Serve one call of a declared method. Raises ApiError."""
    if service.by_project_id:
        for path in method.rules[0].variables:
            _name_by_id(cloud, request, path)
    resource = method.resource(request)
    return await guarded(
        cloud,
        name=service.name_of(method),
        resource=resource,
        permission=method.permission,
        api=(service.host, service.title),
        authorization=authorization,
        reason=reason,
        work=lambda: method.handler(request),
    )


def _name_by_id(cloud: Cloud, request: Message, path: str) -> None:
    """Put the project's id for its number in the resource name at `path`."""
    *outer, last = path.split(".")
    for part in outer:
        request = getattr(request, part)
    setattr(request, last, cloud.projects.canonical(getattr(request, last)))


async def guarded(
    cloud: Cloud,
    *,
    name: str,
    resource: str,
    permission: str,
    api: tuple[str, str],
    authorization: str,
    reason: str,
    work: Callable[[], Awaitable[T]],
    is_open: bool = False,
) -> T:
    """The same guard for hand-written REST handlers: an answer of any type.

    `is_open`: served without any credential too (tokens, signed URLs); the handler judges `current_caller` itself.
    """
    began, status, caller = time.monotonic(), 200, ANONYMOUS
    try:
        caller = caller_of(cloud, authorization)
        if caller is ANONYMOUS and not is_open:
            raise ApiError(Code.UNAUTHENTICATED, NO_CREDENTIAL)
        current_caller.set(caller)

        def judge() -> None:
            cloud.projects.require_enabled(resource, *api)
            if permission and not cloud.policies.allows(caller, permission, resource):
                raise permission_denied(permission, resource)
            cloud.quotas.spend(name, resource)

        return await cloud.faults.around(name, resource, judge, work)
    except ApiError as error:
        status = error.code.http
        raise
    finally:
        took = 1000 * (time.monotonic() - began)
        cloud.requests.add(Request(name, resource, caller.email, reason, status, took))
