"""OAuth 2.0 tokens, STS exchange, Google's public keys (gcp/behaviour-runtime.md, section 2)."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl

from localcloud.core.cloud import Cloud
from localcloud.core.errors import ApiError, Code, Family
from localcloud.core.identity import CLOUD_PLATFORM, OWNER, TOKEN_SECONDS
from localcloud.core.keys import GOOGLE, InvalidToken, numeric_subject, verify_with_jwks
from localcloud.core.rest import RestRequest, RestResponse, RestService, route

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"  # noqa: S105 - a name, no password
ACCESS_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a name, no password
JWT_TYPES = ("urn:ietf:params:oauth:token-type:jwt", "urn:ietf:params:oauth:token-type:id_token")
TOKEN_URIS = ("https://oauth2.googleapis.com/token", "https://www.googleapis.com/oauth2/v4/token")
LONGEST_ASSERTION_S = 3600


class OAuth(RestService):
    """Token endpoint, token information, certificates: open to all, as they are what makes a credential."""

    host = "oauth2.googleapis.com"
    hosts = ("www.googleapis.com",)
    title = "Google OAuth2 API"
    errors = Family.LEGACY

    @route("POST /token", "POST /oauth2/v4/token", open=True)
    async def token(self, request: RestRequest) -> RestResponse:
        form = _form(request)
        grant = form.get("grant_type", "")
        if grant == JWT_BEARER:
            return await self._assertion(form.get("assertion", ""))
        if grant == "refresh_token":  # a person's credentials: people own the projects of this cloud
            scopes = form.get("scope", CLOUD_PLATFORM).split()
            token = self.cloud.tokens.issue(OWNER.email, scopes=scopes)
            return RestResponse.of(_bearer(token) | {"scope": " ".join(scopes)})
        return _refused("unsupported_grant_type", f"Invalid grant_type: {grant}")

    @route("GET /tokeninfo", "POST /tokeninfo", "GET /oauth2/v3/tokeninfo", "POST /oauth2/v3/tokeninfo", open=True)
    async def token_info(self, request: RestRequest) -> RestResponse:
        values = {**request.query, **_form(request)}
        if "id_token" in values:
            try:
                claims = self.cloud.id_tokens.claims(values["id_token"])
            except InvalidToken:
                return _refused("invalid_token", "Invalid Value")
            return RestResponse.of({name: _text(value) for name, value in claims.items()})
        token = values.get("access_token", "")
        email = self.cloud.tokens.email(token)
        if email is None or self.cloud.tokens.expired(token):
            return _refused("invalid_token", "Invalid Value")
        account = self.cloud.accounts.find(email)
        subject = numeric_subject(email) if account is None else account.unique_id
        remaining = self.cloud.tokens.remaining(token)
        return RestResponse.of(
            {
                "azp": subject,
                "aud": subject,
                "sub": subject,
                "scope": " ".join(self.cloud.tokens.scopes(token)),
                "exp": str(int(self.cloud.clock.now().timestamp()) + remaining),
                "expires_in": str(remaining),
                "email": email,
                "email_verified": "true",
                "access_type": "online",
            }
        )

    @route("GET /oauth2/v3/certs", open=True)
    async def jwks(self, request: RestRequest) -> RestResponse:
        key = await self.cloud.keys.key(GOOGLE)
        return _cached({"keys": [key.jwk()]})

    @route("GET /oauth2/v1/certs", open=True)
    async def certificates(self, request: RestRequest) -> RestResponse:
        key = await self.cloud.keys.key(GOOGLE)
        return _cached({key.id: key.certificate()})

    @route("GET /service_accounts/v1/jwk/{email}", open=True)
    async def account_jwks(self, request: RestRequest) -> RestResponse:
        """What verifies a JWT that signJwt made."""
        self._require_account(request.variables["email"])
        key = await self.cloud.keys.key(request.variables["email"])
        return _cached({"keys": [key.jwk()]})

    @route("GET /service_accounts/v1/metadata/x509/{email}", "GET /robot/v1/metadata/x509/{email}", open=True)
    async def account_certificates(self, request: RestRequest) -> RestResponse:
        self._require_account(request.variables["email"])
        key = await self.cloud.keys.key(request.variables["email"])
        return _cached({key.id: key.certificate()})

    def _require_account(self, email: str) -> None:
        if self.cloud.accounts.find(email) is None:
            raise ApiError(Code.NOT_FOUND, "Unknown service account")

    async def _assertion(self, assertion: str) -> RestResponse:
        try:
            signer, claims = self.cloud.keys.verify(assertion)
        except InvalidToken as error:
            return _refused("invalid_grant", f"Invalid JWT: {error}" if "expired" in str(error) else str(error))
        email = str(claims.get("iss", ""))
        if self.cloud.accounts.find(email) is None or not self.cloud.accounts.usable(email):
            return _refused("invalid_grant", "Invalid grant: account not found")
        if signer != email:
            return _refused("invalid_grant", "Invalid JWT Signature.")
        if claims.get("sub", email) != email:
            return _refused(
                "unauthorized_client",
                "Client is unauthorized to retrieve access tokens using this method, or client not authorized for any "
                "of the scopes requested.",
                status=401,
            )
        if claims.get("aud") not in TOKEN_URIS or claims["exp"] - claims.get("iat", 0) > LONGEST_ASSERTION_S:
            return _refused(
                "invalid_grant",
                "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your "
                "iat and exp values in the JWT claim, and that aud is the token endpoint.",
            )
        if "target_audience" in claims:
            token = await self.cloud.id_tokens.issue(email, str(claims["target_audience"]))
            return RestResponse.of({"id_token": token})
        scopes = str(claims.get("scope", "")).split()
        if not scopes:
            return _refused("invalid_scope", "Invalid OAuth scope or ID token audience provided.")
        return RestResponse.of(_bearer(self.cloud.tokens.issue(email, scopes=scopes)))


class Sts(RestService):
    """Tokens of workload identity federation. A provider is what `trust` was told, for its API is not modelled: that
    is the cloud's own control plane, where there is one (localcloud.py).
    """

    host = "sts.googleapis.com"
    title = "Security Token Service API"
    errors = Family.ONE_PLATFORM

    def __init__(self, cloud: Cloud) -> None:
        super().__init__(cloud)
        self._providers = cloud.store.records("sts.providers")

    def trust(self, audience: str, issuer: str, jwks: dict[str, Any]) -> None:
        """Accept tokens of `issuer` at the provider `//iam.googleapis.com/projects/N/…/providers/P`."""
        self._providers.put(audience, {"issuer": issuer, "jwks": jwks})

    @route("POST /v1/token", open=True)
    async def exchange(self, request: RestRequest) -> RestResponse:
        form = _form(request)
        if form.get("grant_type", form.get("grantType")) != TOKEN_EXCHANGE:
            return _refused("unsupported_grant_type", "Invalid grant type.")
        kind = form.get("subject_token_type", form.get("subjectTokenType", ""))
        if kind not in JWT_TYPES:
            return _refused("invalid_request", f"localcloud does not model the exchange of subject tokens {kind!r}.")
        audience = form.get("audience", "")
        provider = self._providers.find(audience)
        if provider is None:
            return _refused(
                "invalid_target",
                'The target service indicated by the "audience" parameters is invalid. This might either be because '
                "the pool or provider is disabled or deleted or because it doesn't exist.",
            )
        try:
            claims = verify_with_jwks(form.get("subject_token", form.get("subjectToken", "")), provider["jwks"])
        except InvalidToken as error:
            return _refused("invalid_grant", str(error))
        if claims.get("iss") != provider["issuer"]:
            return _refused("invalid_grant", "The issuer in ID Token does not match the expected ones.")
        meant = claims.get("aud", "")
        meant = meant if isinstance(meant, list) else [meant]
        if audience not in meant and f"https:{audience}" not in meant:
            told = ", ".join(map(str, meant))
            return _refused("invalid_grant", f"The audience in ID Token [{told}] does not match the expected audience.")
        pool = audience.partition("/providers/")[0].removeprefix("//")
        principal = f"principal://{pool}/subject/{claims.get('sub', '')}"
        token = self.cloud.tokens.issue(principal, scopes=form.get("scope", CLOUD_PLATFORM).split())
        return RestResponse.of(_bearer(token) | {"issued_token_type": ACCESS_TOKEN_TYPE})


def _form(request: RestRequest) -> dict[str, str]:
    """The body, form-encoded or JSON, as clients send either."""
    if request.headers.get("Content-Type", "").startswith("application/json"):
        return {name: str(value) for name, value in request.json().items()}
    return dict(parse_qsl(request.body.decode("utf-8", "replace")))


def _bearer(token: str) -> dict[str, Any]:
    return {"access_token": token, "expires_in": TOKEN_SECONDS, "token_type": "Bearer"}


def _refused(error: str, description: str, status: int = 400) -> RestResponse:
    """OAuth has an error form of its own (RFC 6749, section 5.2)."""
    return RestResponse.of({"error": error, "error_description": description}, status)


def _cached(value: dict[str, Any]) -> RestResponse:
    return RestResponse(
        200,
        json.dumps(value, indent=2).encode(),
        {"Content-Type": "application/json; charset=UTF-8", "Cache-Control": "public, max-age=19800, must-revalidate"},
    )


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
