"""IAM Service Account Credentials v1 (gcp/behaviour-runtime.md, section 2)."""

from __future__ import annotations

import datetime as dt
import json
import time

from localcloud.api.iam import denied
from localcloud.api.messages import iamcredentials as messages
from localcloud.core.errors import ApiError, Code, Family, not_modelled
from localcloud.core.identity import current_caller
from localcloud.core.service import Service, rpc

ACCOUNT = "POST /v1/{name=projects/*/serviceAccounts/*}"
LONGEST_TOKEN_S = 3600  # more needs an organisation policy
LONGEST_JWT_S = 12 * 3600


class IamCredentials(Service):
    """Short-lived credentials of a service account, for who may impersonate it."""

    host = "iamcredentials.googleapis.com"
    grpc = "google.iam.credentials.v1.IAMCredentials"
    title = "IAM Service Account Credentials API"
    errors = Family.ONE_PLATFORM

    @rpc(f"{ACCOUNT}:generateAccessToken", body="*")
    async def generate_access_token(
        self, request: messages.GenerateAccessTokenRequest
    ) -> messages.GenerateAccessTokenResponse:
        email = self._email(request, "iam.serviceAccounts.getAccessToken")
        if not request.scope:
            raise ApiError(Code.INVALID_ARGUMENT, "At least one scope is required.")
        seconds = request.lifetime.seconds if request.HasField("lifetime") else LONGEST_TOKEN_S
        if not 0 < seconds <= LONGEST_TOKEN_S:
            raise ApiError(
                Code.INVALID_ARGUMENT,
                f"The access token lifetime must be between 1 and {LONGEST_TOKEN_S} seconds; "
                f"{seconds} seconds were requested.",
            )
        response = messages.GenerateAccessTokenResponse(
            access_token=self.cloud.tokens.issue(email, seconds, list(request.scope))
        )
        response.expire_time.FromDatetime(
            (self.cloud.clock.now() + dt.timedelta(seconds=seconds)).replace(microsecond=0, tzinfo=None)
        )
        return response

    @rpc(f"{ACCOUNT}:generateIdToken", body="*")
    async def generate_id_token(self, request: messages.GenerateIdTokenRequest) -> messages.GenerateIdTokenResponse:
        email = self._email(request, "iam.serviceAccounts.getOpenIdToken")
        if not request.audience:
            raise ApiError(Code.INVALID_ARGUMENT, "The audience must not be empty.")
        token = await self.cloud.id_tokens.issue(email, request.audience, request.include_email, request.use_email_azp)
        return messages.GenerateIdTokenResponse(token=token)

    @rpc(f"{ACCOUNT}:signBlob", body="*")
    async def sign_blob(self, request: messages.SignBlobRequest) -> messages.SignBlobResponse:
        key = await self.cloud.keys.key(self._email(request, "iam.serviceAccounts.signBlob"))
        return messages.SignBlobResponse(key_id=key.id, signed_blob=key.sign(request.payload))

    @rpc(f"{ACCOUNT}:signJwt", body="*")
    async def sign_jwt(self, request: messages.SignJwtRequest) -> messages.SignJwtResponse:
        email = self._email(request, "iam.serviceAccounts.signJwt")
        _check_claims(request.payload)
        key_id, signed = await self.cloud.keys.jwt(email, request.payload)
        return messages.SignJwtResponse(key_id=key_id, signed_jwt=signed)

    def _email(self, request: messages.SignBlobRequest, permission: str) -> str:
        """The account's e-mail, where the caller may do this with it; a missing account is denied too."""
        if request.name.split("/")[1] != "-":
            raise ApiError(
                Code.INVALID_ARGUMENT,
                "Invalid form of service account name. The `-` wildcard character is required as the project: "
                "projects/-/serviceAccounts/{ACCOUNT}.",
            )
        if request.delegates:
            raise not_modelled("delegation chains of service accounts (delegates)")
        resource = self.cloud.accounts.resource(request.name)
        if not self.cloud.policies.allows(current_caller.get(), permission, resource) or "/-/" in resource:
            raise denied(permission)
        account = self.cloud.accounts.resolve(resource)
        if account.disabled:
            raise ApiError(Code.FAILED_PRECONDITION, f"Service account {account.email} is disabled.")
        return str(account.email)


def _check_claims(payload: str) -> None:
    """Raises INVALID_ARGUMENT for what is no JSON object or lives too long."""
    try:
        claims = json.loads(payload)
    except ValueError:
        claims = None
    if not isinstance(claims, dict):
        raise ApiError(Code.INVALID_ARGUMENT, "The JWT payload must be a serialized JSON object.")
    expires = claims.get("exp")
    if expires is not None and not isinstance(expires, int | float):
        raise ApiError(Code.INVALID_ARGUMENT, "The exp claim must be an integer timestamp.")
    if expires is not None and expires > time.time() + LONGEST_JWT_S:
        raise ApiError(Code.INVALID_ARGUMENT, "The exp claim must be at most 12 hours in the future.")
