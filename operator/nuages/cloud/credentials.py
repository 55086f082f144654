"""Who we are to Google: application default credentials, or a tenant's service account through them."""

from __future__ import annotations

import asyncio
import http
import json
import time
from typing import Any

import google.auth
from google.auth import credentials as auth
from google.auth import exceptions, iam, identity_pool, impersonated_credentials, metrics
from google.auth.transport.requests import Request
from google.oauth2 import id_token
from urllib3 import Timeout

from nuages.cloud.call import Call, Metadata
from nuages.cloud.deadline import left
from nuages.cloud.errors import CloudError, PermissionDenied, Transient, Unidentified

SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
ID_TOKEN_SECONDS = 1800.0  # of the hour that one lasts
REFUSALS = (exceptions.RefreshError, exceptions.OAuthError)  # the second by STS
DENIED = ("PERMISSION_DENIED", "invalid_grant", "invalid_target", "unauthorized", "not found")
UNAUTHENTICATED = '"UNAUTHENTICATED"'  # the status of a 401 of iamcredentials: the token of who impersonates


async def application_default() -> auth.Credentials:
    """As every Google client finds them. Raises Unidentified where there are none."""
    try:
        found, _ = await asyncio.to_thread(google.auth.default, scopes=SCOPES)
    except exceptions.DefaultCredentialsError as error:
        raise Unidentified(
            "The operator has no Google credentials. Set up workload identity, or run: gcloud auth "
            "application-default login."
        ) from error
    return found


def impersonated(source: auth.Credentials, email: str) -> auth.Credentials:
    """The source acts as the service account; needs roles/iam.serviceAccountTokenCreator on it."""
    return impersonated_credentials.Credentials(  # type: ignore[no-untyped-call]
        source_credentials=source, target_principal=email, target_scopes=list(SCOPES)
    )


class _Transport(Request):
    """Google's own; all requests and retries of one refresh end with the call that they are made for.

    Not by BoundedAdapter: for a host that asks for client certificates google-auth mounts an adapter, unless we do.
    """

    def __call__(  # type: ignore[no-untyped-def]
        self, url: str, method: str = "GET", body: Any = None, headers: Any = None, timeout: Any = None, **others: Any
    ):
        """Raises TimeoutError once nothing is left: google-auth's own error would be tried again."""
        limit = left()
        total = Timeout(total=min(limit, timeout or limit))  # of connecting and of reading together
        return super().__call__(url, method, body, headers, total, **others)  # type: ignore[no-untyped-call]


class Identity:
    """Tokens of one credential. They are never logged, and no error quotes one."""

    def __init__(self, credentials: auth.Credentials, call: Call) -> None:
        self.credentials, self._call = credentials, call
        self._refreshing: asyncio.Future[None] | None = None
        self._id_tokens: dict[str, tuple[str, float]] = {}  # by audience: token, when it was made

    @property
    def principal(self) -> str:
        """The email address, as far as the credential tells it; else ""."""
        found = getattr(self.credentials, "service_account_email", "") or getattr(self.credentials, "account", "")
        return found if isinstance(found, str) and "@" in found else ""

    async def access_token(self) -> str:
        """One that is good for some minutes at least. Raises CloudError."""
        if not self.credentials.valid:
            if self._refreshing is None or self._refreshing.done():
                refresh = self._call.in_thread_without_token("Identity.accessToken", _renew, self.credentials)
                self._refreshing = asyncio.ensure_future(refresh)
            await asyncio.shield(self._refreshing)  # one for all who wait: in a queue, each would wait its own deadline
        return str(self.credentials.token)

    async def metadata(self) -> Metadata:
        """What a call over gRPC bears: the token, and the project that its quota is counted on. Raises CloudError."""
        project = getattr(self.credentials, "quota_project_id", None)
        billed = (("x-goog-user-project", str(project)),) if project else ()
        return ("authorization", f"Bearer {await self.access_token()}"), *billed

    def forget(self, sent: Metadata) -> None:
        """Google refused the token in this metadata: the next call gets another, unless one is there already."""
        _forget(self.credentials, dict(sent).get("authorization", "").removeprefix("Bearer "))

    async def id_token(self, audience: str) -> str:
        """For a Cloud Run service: `audience` is its URL. Raises CloudError."""
        since = time.monotonic() - ID_TOKEN_SECONDS
        self._id_tokens = {url: known for url, known in self._id_tokens.items() if known[1] > since}
        if audience in self._id_tokens:
            return self._id_tokens[audience][0]
        token = await self._call.in_thread_without_token("Identity.idToken", _id_token, self.credentials, audience)
        self._id_tokens[audience] = (token, time.monotonic())
        return token


def _forget(credentials: Any, token: str) -> None:
    """What is a token and nothing else (`refresh_token` is None) keeps it: there is no other."""
    if credentials.token == token and getattr(credentials, "refresh_token", "") is not None:
        credentials.token = None


def _renew(credentials: Any) -> None:
    """A new token for them. Raises CloudError."""
    try:
        credentials.refresh(_Transport())
    except REFUSALS as error:
        if isinstance(credentials, impersonated_credentials.Credentials) and UNAUTHENTICATED in _text(error):
            _forget(_source(credentials), _source(credentials).token)
        raise _refused(error, credentials) from error


def _id_token(credentials: Any, audience: str) -> str:
    target = _target(credentials)
    if target is not None:
        return _impersonated_id(target, audience)
    made = _id_token_credentials(credentials, audience)
    _renew(made)
    # A user's own token is for gcloud's client id, which Cloud Run accepts too (behaviour-runtime.md, section 2).
    return str(made.id_token if made is credentials else made.token)


def _target(credentials: Any) -> Any:
    """The impersonated account that an ID token is to be of; None where the credentials make their own."""
    if isinstance(credentials, impersonated_credentials.Credentials):
        return credentials
    email = getattr(credentials, "service_account_email", None)
    if isinstance(credentials, identity_pool.Credentials) and email:
        return impersonated(_of_pool(credentials), email)
    return None


def _id_token_credentials(credentials: Any, audience: str) -> Any:
    if getattr(credentials, "refresh_token", None):
        return credentials
    try:
        return id_token.fetch_id_token_credentials(audience, _Transport())  # type: ignore[no-untyped-call]
    except exceptions.DefaultCredentialsError as error:
        raise PermissionDenied(
            "The operator's credentials give no ID token, which calls of a private service need. Run it as a service "
            "account, or set impersonateServiceAccount."
        ) from error


def _of_pool(credentials: identity_pool.Credentials) -> Any:
    """The same without its service account: the pool's identity is who may act as that, not the account as itself."""
    told = {name: value for name, value in credentials.info.items() if name != "service_account_impersonation_url"}
    return type(credentials).from_info(told, scopes=list(SCOPES))  # type: ignore[no-untyped-call]


def _source(target: Any) -> Any:
    """Who impersonates: google-auth tells it to its own classes only."""
    return target._source_credentials


def _impersonated_id(target: Any, audience: str) -> str:
    """As google-auth's IDTokenCredentials asks for it, whose own session would go on after our deadline."""
    source, email = _source(target), target.service_account_email
    if not source.valid:
        _renew(source)
    # By google-auth's own name, which is of another host where client certificates are in use.
    url = iam._IAM_IDTOKEN_ENDPOINT.replace(auth.DEFAULT_UNIVERSE_DOMAIN, target.universe_domain).format(email)
    wanted = {"audience": audience, "delegates": target._delegates, "includeEmail": True}
    headers = {
        "Content-Type": "application/json",
        metrics.API_CLIENT_HEADER: metrics.token_request_id_token_impersonate(),  # type: ignore[no-untyped-call]
    }
    sent = source.token
    source.apply(headers)
    answer = _Transport()(url, "POST", json.dumps(wanted).encode(), headers)
    if answer.status == http.HTTPStatus.OK:
        return str(json.loads(answer.data)["token"])
    if answer.status == http.HTTPStatus.UNAUTHORIZED:
        _forget(source, sent)
    if answer.status not in (http.HTTPStatus.FORBIDDEN, http.HTTPStatus.NOT_FOUND):
        raise Transient(f"Google gave no ID token for the service account {email} (HTTP {answer.status}).")
    raise PermissionDenied(
        f"No ID token can be made for the service account {email}, or it is not there.",
        permission="iam.serviceAccounts.getOpenIdToken",
    )


def _text(error: exceptions.GoogleAuthError) -> str:
    return " ".join(str(part) for part in error.args)


def _refused(error: exceptions.GoogleAuthError, credentials: Any) -> CloudError:
    text = _text(error)
    if not any(word in text for word in DENIED):
        return Transient("The operator's credentials could not be refreshed.")
    if isinstance(credentials, impersonated_credentials.Credentials) or "impersonated credentials" in text:
        return PermissionDenied(
            f"The service account {credentials.service_account_email} cannot be impersonated, or is not there.",
            permission="iam.serviceAccounts.getAccessToken",
        )
    return PermissionDenied("Google refused the operator's credentials. Renew them.")
