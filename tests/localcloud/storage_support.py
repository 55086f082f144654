"""Google's storage client, and an app's account with its grants."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import Any

from google.cloud import storage
from google.oauth2.credentials import Credentials

EMAIL = "web-app@demo.iam.gserviceaccount.com"
MEMBER = f"serviceAccount:{EMAIL}"


def client(token: str = "") -> storage.Client:
    return storage.Client("demo", Credentials(token or "of the owner"))  # type: ignore[no-untyped-call]


async def blocking(work: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """Google's storage client is synchronous."""
    return await asyncio.to_thread(functools.partial(work, *arguments, **named))


async def grant(bucket: storage.Bucket, *roles: str) -> None:
    """To the account, on the bucket."""
    policy = await blocking(bucket.get_iam_policy, requested_policy_version=3)
    policy.bindings.extend({"role": role, "members": {MEMBER}} for role in roles)
    await blocking(bucket.set_iam_policy, policy)
