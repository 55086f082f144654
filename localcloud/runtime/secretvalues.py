"""Secrets as Cloud Run reads them: as the account of the revision or job (gcp/behaviour-runtime.md, section 7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from localcloud.api.messages import secretmanager as pb
from localcloud.api.secretmanager import SecretManager
from localcloud.core.errors import ApiError, Code
from localcloud.core.identity import OWNER, Caller, current_caller

if TYPE_CHECKING:
    from localcloud.core.cloud import Cloud


@dataclass(frozen=True)
class SecretRef:
    """One version of a secret, as a container names it."""

    project: str  # number
    secret: str
    version: str

    @classmethod
    def of(cls, number: str, secret: str, version: str) -> SecretRef:
        """`secret`: short, or projects/P/secrets/S; no version means latest."""
        parts = secret.split("/")
        return cls(parts[1] if len(parts) == 4 else number, parts[-1], version or "latest")

    @property
    def name(self) -> str:
        return f"projects/{self.project}/secrets/{self.secret}/versions/{self.version}"


@dataclass(frozen=True)
class Denied:
    """Why a secret cannot be read, for the deploy-time check."""

    text: str


class SecretValues:
    """Reads through the API, so that IAM and version states decide."""

    def __init__(self, cloud: Cloud) -> None:
        self._api = cloud.shared(SecretManager)

    async def read(self, account: str, ref: SecretRef) -> bytes:
        """The payload. Raises ApiError as the API does for this account."""
        answer = await self._as(Caller(account), ref)
        return bytes(answer.payload.data)

    async def check(self, account: str, ref: SecretRef) -> Denied | None:
        """Whether the account may read it at all; a version's state is looked at when an instance starts."""
        try:
            await self._as(OWNER, ref)
        except ApiError as error:
            if error.code is Code.NOT_FOUND:
                return Denied(f"Secret {ref.name} was not found")
        try:
            await self._as(Caller(account), ref)
        except ApiError as error:
            if error.code is Code.PERMISSION_DENIED:
                return Denied(
                    f"Permission denied on secret: {ref.name} for Revision service account {account}. The service "
                    "account used must be granted the 'Secret Manager Secret Accessor' role "
                    "(roles/secretmanager.secretAccessor) at the secret, project or higher level."
                )
        return None

    async def _as(self, caller: Caller, ref: SecretRef) -> pb.AccessSecretVersionResponse:
        before = current_caller.set(caller)
        try:
            return await self._api.access_secret_version(pb.AccessSecretVersionRequest(name=ref.name))
        finally:
            current_caller.reset(before)


def startup_error(ref: SecretRef, variable: str, error: ApiError) -> str:
    """What Google logs when an instance cannot start for a secret."""
    short = f"{ref.secret}/versions/{ref.version}"
    for state in ("DISABLED", "DESTROYED"):
        if f"{state} state" in error.message:
            return f"Secret Version [{short}] is in {state} state. Instance startup will now abort."
    return (
        f'Could not fetch secret "{ref.name}" for environment variable "{variable}". Instance startup will now abort: '
        f"{error.message}"
    )
