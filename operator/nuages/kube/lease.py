"""The Lease: one operator at a time. Who loses it, ends: fail closed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import aiohttp
import structlog
from kubernetes.aio import client
from kubernetes.aio.client.exceptions import ApiException
from kubernetes.aio.leaderelection import electionconfig, leaderelection
from kubernetes.aio.leaderelection.leaderelectionrecord import LeaderElectionRecord
from kubernetes.aio.leaderelection.resourcelock.leaselock import LeaseLock

DURATION, RENEW, RETRY = 15, 10, 2  # seconds, as client-go's defaults

log = structlog.get_logger()


class Lock(LeaseLock):
    """The official lock; an API server out of reach for a moment is a failed try, not the end."""

    async def get(
        self, name: str, namespace: str
    ) -> tuple[bool, LeaderElectionRecord] | tuple[bool, Exception] | tuple[bool, None]:
        try:
            return await super().get(name, namespace)
        except (aiohttp.ClientError, TimeoutError) as error:
            return False, ApiException(status=0, reason=str(error))

    async def create(self, name: str, namespace: str, election_record: LeaderElectionRecord) -> bool:
        """Without the official one's `pretty=True`, which the client's own validation refuses."""
        spec = self.update_lease(election_record)
        body = client.V1Lease(metadata=client.V1ObjectMeta(name=name), spec=spec)
        try:
            await self.api_instance.create_namespaced_lease(namespace, body)
        except (ApiException, aiohttp.ClientError, TimeoutError):
            return False
        return True

    async def update(self, name: str, namespace: str, updated_record: LeaderElectionRecord) -> bool:
        try:
            return bool(await super().update(name, namespace, updated_record))
        except (aiohttp.ClientError, TimeoutError):
            return False


async def lead(
    api: client.ApiClient, namespace: str, identity: str, work: Callable[[], Awaitable[None]], name: str = "nuages"
) -> None:
    """Run `work` while the Lease is held; returns when it is lost. `identity` is the pod's name: a restarted container
    retakes its own Lease at once."""

    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def begin() -> None:
        """The election would go on renewing for work that has failed."""
        try:
            await work()
        except Exception as error:
            ended.set_exception(error)
        else:
            ended.set_result(None)

    async def lost() -> None:
        log.error("lease lost: ending", lease=f"{namespace}/{name}", identity=identity)

    lock = Lock(name, namespace, identity, api)
    config = electionconfig.Config(lock, DURATION, RENEW, RETRY, begin, lost)
    election = asyncio.create_task(leaderelection.LeaderElection(config).run())
    try:
        done, _ = await asyncio.wait({election, ended}, return_when=asyncio.FIRST_COMPLETED)
        done.pop().result()
    finally:
        election.cancel()


async def give_up(api: client.ApiClient, namespace: str, identity: str, name: str = "nuages") -> None:
    """A clean end hands the Lease over, so that the next pod need not wait for it to expire."""
    leases = client.CoordinationV1Api(api)
    try:
        lease = await leases.read_namespaced_lease(name, namespace)
        if lease.spec is not None and lease.spec.holder_identity == identity:
            lease.spec.holder_identity = None
            await leases.replace_namespaced_lease(name, namespace, lease)
    except (ApiException, aiohttp.ClientError) as error:
        log.debug("lease was not given up", error=str(error))
