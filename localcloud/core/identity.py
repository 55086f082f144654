"""Who calls: bearer tokens, and the caller of the request that is being served."""

from __future__ import annotations

import contextvars
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass

from localcloud.core.state import Store

CLOUD_PLATFORM = "https://www.googleapis.com/auth/cloud-platform"
TOKEN_SECONDS = 3599  # as Google's token endpoints say


@dataclass(frozen=True)
class Caller:
    """A principal; `owner` may do everything in every project."""

    email: str
    owner: bool = False

    @property
    def member(self) -> str:
        """As IAM policies name it."""
        if self.email.startswith("principal:"):  # federated: principal://iam.googleapis.com/…/subject/S
            return self.email
        kind = "serviceAccount" if self.email.endswith(".gserviceaccount.com") else "user"
        return f"{kind}:{self.email}"


OWNER = Caller("owner@localcloud.example", owner=True)
ANONYMOUS = Caller("")

current_caller: contextvars.ContextVar[Caller] = contextvars.ContextVar("current_caller", default=OWNER)


class Tokens:
    """Access tokens that localcloud issued. A bearer that it did not issue acts as the projects' owner."""

    def __init__(self, store: Store) -> None:
        self._records = store.records("tokens")

    def issue(self, email: str, seconds: int = TOKEN_SECONDS, scopes: Sequence[str] = (CLOUD_PLATFORM,)) -> str:
        """A new access token for `email`, valid for `seconds` of wall-clock time; scopes are told, not enforced."""
        token = f"ya29.lc.{secrets.token_urlsafe(32)}"
        self._records.put(token, {"email": email, "expires": time.time() + seconds, "scopes": list(scopes)})
        return token

    def email(self, token: str) -> str | None:
        """Whose token this is, or None where it is not ours; raises nothing."""
        record = self._records.find(token)
        return None if record is None else str(record["email"])

    def expired(self, token: str) -> bool:
        record = self._records.find(token)
        return record is not None and record["expires"] < time.time()

    def scopes(self, token: str) -> list[str]:
        """What it was asked for."""
        return list((self._records.find(token) or {}).get("scopes", ()))

    def remaining(self, token: str) -> int:
        """Seconds left, for tokeninfo."""
        record = self._records.find(token)
        return 0 if record is None else max(0, int(record["expires"] - time.time()))
