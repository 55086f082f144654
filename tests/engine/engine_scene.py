"""What an engine test does: to the cloud behind the operator's back, and through the operator's own access."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from google.oauth2.credentials import Credentials

from localcloud.core.errors import ApiError, Code
from localcloud.core.faults import Fault, Kind
from localcloud.localcloud import LocalCloud
from nuages.cloud.access import CloudAccess, Clouds
from nuages.cloud.driver import Operation
from nuages.desired.iam import ServiceAccount
from nuages.desired.secretmanager import Secret

PROJECT = "demo"


class Scene:
    """One cloud, our access to it, and what a test does to the cloud behind the operator's back."""

    def __init__(self, cloud: LocalCloud, clouds: Clouds, access: CloudAccess, payloads: dict[str, bytes]) -> None:
        self.cloud, self.access, self.payloads = cloud, access, payloads
        self._clouds = [clouds]

    def lose_answer(self, method: str) -> None:
        """The work is done, the caller never hears of it; `method` as "SecretManagerService.AddSecretVersion"."""
        self.cloud.core.faults.add(Fault(f"*{method}", Kind.LOSE))

    def fail(self, method: str, code: Code, message: str, times: int = 1) -> Fault:
        return self.cloud.core.faults.add(Fault(f"*{method}", Kind.FAIL, ApiError(code, message), times=times))

    def before(self, method: str, hook: Callable[[], Awaitable[None]]) -> None:
        """Somebody else acts just before the call."""
        self.cloud.core.faults.add(Fault(f"*{method}", Kind.CALL, hook=hook))

    def asked(self, method: str) -> int:
        """How often; `method` as "SecretManagerService.ListSecrets"."""
        counts = self.cloud.core.requests.counts
        return sum(count for name, count in counts.items() if name.endswith(method))

    async def ended(self, operation: Operation) -> Operation:
        """Poll until it is done, well or not."""
        deadline = time.monotonic() + 20
        while not operation.done:
            assert time.monotonic() < deadline, operation
            await asyncio.sleep(0.01)
            operation = await self.access.operations.poll(operation)
        return operation

    async def done(self, operation: Operation | None) -> Operation | None:
        """Poll until it is done; fails on an error of the operation."""
        ended = None if operation is None else await self.ended(operation)
        assert ended is None or not ended.error, ended
        return ended

    async def as_nobody(self) -> CloudAccess:
        """The access of an identity without any grant."""
        email = f"nobody1@{PROJECT}.iam.gserviceaccount.com"
        account = ServiceAccount(name=f"projects/{PROJECT}/serviceAccounts/{email}", display_name="")
        await self.access.drivers.of(ServiceAccount).create(account)
        return await self.as_bearer(self.cloud.core.tokens.issue(email))

    async def as_bearer(self, token: str) -> CloudAccess:
        clouds = Clouds(_no_copies, Credentials(token))
        self._clouds.append(clouds)
        return await clouds.for_tenant("")

    async def close(self) -> None:
        for clouds in self._clouds:
            await clouds.close()


async def _no_copies(secret: Secret) -> bytes:
    raise AssertionError(f"{secret.id} is no copy")
