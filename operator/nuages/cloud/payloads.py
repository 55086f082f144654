"""Payloads of secrets: read when they are needed, kept nowhere, never logged."""

from __future__ import annotations

import secrets
import string
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from google.cloud.secretmanager_v1 import SecretManagerServiceAsyncClient
from google.cloud.secretmanager_v1.types import Secret as Found

from nuages.cloud.call import Call
from nuages.cloud.errors import NotFound
from nuages.desired.secretmanager import Composed, Copied, Secret

ANNOTATION = "nuages.source"  # "<source>@<version>": the version, and what it was made of
ALPHABET = string.ascii_letters + string.digits  # needs no quoting in a URL

Copies = Callable[[Secret], Awaitable[bytes]]


@dataclass(frozen=True)
class Made:
    """What the annotation says: the current version, and the fingerprint of what it was made of."""

    source: str = ""
    version: str = ""

    @classmethod
    def of(cls, secret: Found) -> Made:
        source, _, version = secret.annotations.get(ANNOTATION, "").rpartition("@")
        return cls(source, version) if version.isdigit() else cls()

    def __str__(self) -> str:
        return f"{self.source}@{self.version}"


class Payloads:
    """Reads what is there, and makes what a desired secret's payload should be."""

    def __init__(self, api: SecretManagerServiceAsyncClient, call: Call, copies: Copies) -> None:
        self._api, self._call, self._copies = api, call, copies

    async def current(self, secret: str) -> bytes:
        """The version that the annotation names. Raises NotFound where there is none yet."""
        made = Made.of(await self._call(self._api.get_secret, {"name": secret}))
        if not made.version:
            raise NotFound(f"The secret {secret.rsplit('/', 1)[1]} has no version yet.")
        return await self.of_version(secret, made.version)

    async def of_version(self, secret: str, version: str) -> bytes:
        """Raises Invalid for one that is disabled or destroyed."""
        answer = await self._call(self._api.access_secret_version, {"name": f"{secret}/versions/{version}"})
        return bytes(answer.payload.data)

    async def derived(self, desired: Secret) -> bytes | None:
        """Of a copied or composed secret, which gives the same payload each time; None for a random one."""
        match desired.payload:
            case Copied():
                return await self._copies(desired)
            case Composed(template=text, parts=parts):
                for placeholder, part in parts:
                    text = text.replace(f"{{{placeholder}}}", (await self.current(part)).decode())
                return text.encode()
            case _:
                return None


def random_payload(length: int) -> bytes:
    return "".join(secrets.choice(ALPHABET) for _ in range(length)).encode()
